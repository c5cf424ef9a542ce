//! What follows from one event: which commands, and what was skipped. Pure.

use std::sync::Arc;

use accrue_campaign_engine::rules::Outcome;
use accrue_domain::account::command::{Command, Issue, Source};
use accrue_domain::action::Action;
use accrue_domain::envelope::Envelope;
use accrue_domain::event::Event;
use accrue_domain::id::{
    AccountId, CampaignId, CommandId, LotId, ProgramId, PurchaseId, ReturnId, SaleId,
};
use accrue_domain::money::Minor;
use accrue_domain::points::{Amount, Points};
use accrue_domain::{purchase, sale};
use accrue_event_store::record::{Position, Recorded};
use accrue_event_store::stream::StreamKey;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::campaigns::{Campaigns, Verdict};
use crate::document::{Occasion, occasion};
use crate::skips::{REFUSED, RULES_DO_NOT_COMPILE, Skip, TOO_MANY_POINTS};

/// Who sends the commands.
const ACTOR: &str = "accrue/awards";

/// What follows from one event.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// In the order in which they are to be sent.
    pub(crate) commands: Vec<Planned>,
    pub(crate) skips: Vec<Skip>,
}

/// One command with what caused it.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    program: ProgramId,
    account: AccountId,
    /// Position of the event that it follows from.
    pub(crate) event: Position,
    correlation_id: Arc<str>,
    /// The trace of that event.
    pub(crate) trace: Option<Arc<str>>,
    pub(crate) task: Task,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    /// Points for an event.
    Award {
        campaign: CampaignId,
        version: u32,
        points: Amount,
        sale: Option<SaleId>,
        occurred_at: DateTime<Utc>,
    },
    /// The share of a returned sale's awards, back.
    TakeBack { sale: SaleId, return_id: ReturnId, returned: i64, total: i64 },
}

/// What follows from an event, given the history of the campaigns up to it.
pub(crate) fn plan(campaigns: &Campaigns, recorded: &Recorded) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let Some(stream) = &recorded.stream else { return Ok(plan) };
    for event in recorded.events() {
        match event {
            Event::Sale(sale::Event::SaleReturned {
                return_id, account, returned, total, ..
            }) => {
                let Some(account) = account else { continue };
                // Of a sale without a price there are no shares: any return of it is all of it.
                let (returned, total) =
                    if total.get() > 0 { (returned.get(), total.get()) } else { (1, 1) };
                let task = Task::TakeBack {
                    sale: sale_id(stream)?,
                    return_id: return_id.clone(),
                    returned,
                    total,
                };
                plan.commands.push(planned(stream, recorded, account, task)?);
            }
            Event::Purchase(purchase::event::Event::PurchaseRefunded {
                refund,
                account: Some(account),
                returned,
                paid,
                ..
            }) if *paid > Minor::ZERO => {
                let purchase = PurchaseId::new(stream.id()).map_err(|e| e.to_string())?;
                let task = Task::TakeBack {
                    sale: purchase.as_sale(),
                    return_id: refund.as_return(),
                    returned: returned.get(),
                    total: paid.get(),
                };
                plan.commands.push(planned(stream, recorded, account, task)?);
            }
            Event::Sale(sale::Event::SaleRecorded { .. })
            | Event::Purchase(_)
            | Event::Account(_)
            | Event::Campaign(_)
            | Event::Product(_)
            | Event::Program(_)
            | Event::Wallet(_) => {
                if campaigns.any_active(stream.program(), recorded.position)
                    && let Some(occasion) = occasion(stream, event)
                {
                    plan.judge(campaigns, stream, recorded, &occasion)?;
                }
            }
        }
    }
    Ok(plan)
}

impl Plan {
    fn judge(
        &mut self,
        campaigns: &Campaigns,
        stream: &StreamKey,
        recorded: &Recorded,
        occasion: &Occasion,
    ) -> Result<(), String> {
        for verdict in campaigns.judge(stream.program(), recorded.position, &occasion.document) {
            let skip = |rule, reason, detail: &str| Skip {
                program: stream.program().to_owned(),
                campaign: verdict.campaign.to_string(),
                version: verdict.version,
                rule,
                reason,
                detail: detail.to_owned(),
                position: recorded.position,
            };
            let outcome = match &verdict.outcome {
                Ok(outcome) => outcome,
                Err(detail) => {
                    self.skips.push(skip(None, RULES_DO_NOT_COMPILE, detail));
                    continue;
                }
            };
            let skipped = outcome.skipped.iter();
            self.skips.extend(skipped.map(|s| skip(Some(s.rule), s.reason.as_str(), &s.detail)));
            let Some(points) = sum(outcome) else {
                let detail = format!("more than {} points for one event", Points::MAX);
                self.skips.push(skip(None, TOO_MANY_POINTS, &detail));
                continue;
            };
            if let Ok(points) = Amount::new(points) {
                let task = award(&verdict, points, occasion);
                self.commands.push(planned(stream, recorded, &occasion.account, task)?);
            }
        }
        Ok(())
    }
}

fn award(verdict: &Verdict<'_>, points: Amount, occasion: &Occasion) -> Task {
    Task::Award {
        campaign: verdict.campaign.clone(),
        version: verdict.version,
        points,
        sale: occasion.sale.clone(),
        occurred_at: occasion.occurred_at,
    }
}

/// The points of all rules together; none beyond what one lot may have.
fn sum(outcome: &Outcome) -> Option<i64> {
    let points = outcome.awards.iter().map(|award| award.points);
    let sum = points.into_iter().try_fold(0_i64, i64::checked_add)?;
    (sum <= Points::MAX.get()).then_some(sum)
}

fn planned(
    stream: &StreamKey,
    recorded: &Recorded,
    account: &AccountId,
    task: Task,
) -> Result<Planned, String> {
    let metadata = recorded.metadata().map_err(|error| format!("metadata: {error}"))?;
    Ok(Planned {
        program: ProgramId::new(stream.program()).map_err(|error| error.to_string())?,
        account: account.clone(),
        event: recorded.position,
        correlation_id: metadata.correlation_id.unwrap_or(metadata.command_id),
        trace: metadata.traceparent,
        task,
    })
}

fn sale_id(stream: &StreamKey) -> Result<SaleId, String> {
    SaleId::new(stream.id()).map_err(|error| error.to_string())
}

impl Task {
    /// What it is called in a trace.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Award { .. } => "award points",
            Self::TakeBack { .. } => "take points back",
        }
    }
}

impl Planned {
    /// The command, with the same id and the same content however often it is made.
    pub(crate) fn envelope(&self) -> Envelope {
        let id = self.id();
        Envelope {
            fingerprint: Some(self.fingerprint(&id)),
            program: self.program.clone(),
            occurred_at: self.occurred_at(),
            correlation_id: Some(Arc::clone(&self.correlation_id)),
            causation_id: Some(format!("event/{}", self.event).into()),
            actor: Some(ACTOR.into()),
            expected_version: None,
            actions: vec![Action::Account(self.account.clone(), self.command(&id))],
            id,
        }
    }

    /// The sale that it belongs to: what comes back must find what was awarded.
    pub(crate) fn sale(&self) -> Option<(&ProgramId, &SaleId)> {
        let sale = match &self.task {
            Task::Award { sale, .. } => sale.as_ref(),
            Task::TakeBack { sale, .. } => Some(sale),
        };
        sale.map(|sale| (&self.program, sale))
    }

    /// The skip that an award's refusal is.
    pub(crate) fn refused(&self, detail: &str) -> Option<Skip> {
        let Task::Award { campaign, version, .. } = &self.task else { return None };
        Some(Skip {
            program: self.program.to_string(),
            campaign: campaign.to_string(),
            version: *version,
            rule: None,
            reason: REFUSED,
            detail: detail.to_owned(),
            position: self.event,
        })
    }

    fn id(&self) -> CommandId {
        let Self { program, event, .. } = self;
        let id = match &self.task {
            Task::Award { campaign, .. } => format!("award/{program}/{campaign}/{event}"),
            Task::TakeBack { sale, .. } => format!("return/{program}/{sale}/{event}"),
        };
        CommandId::new(&id).expect("two ids and a number are visible ASCII of at most 180 bytes")
    }

    /// Of who gets something for what, not of how much: what a campaign made of an event once is
    /// final, also where a later build would make something else of it.
    fn fingerprint(&self, id: &CommandId) -> [u8; 32] {
        Sha256::new()
            .chain_update(id.as_str())
            .chain_update([0])
            .chain_update(self.account.as_str())
            .finalize()
            .into()
    }

    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        match &self.task {
            Task::Award { occurred_at, .. } => Some(*occurred_at),
            Task::TakeBack { .. } => None,
        }
    }

    fn command(&self, id: &CommandId) -> Command {
        match &self.task {
            Task::Award { campaign, version, points, sale, .. } => Command::Issue(Issue {
                // A lot exists once in its account. So an award is made once even where the answer
                // to its command was forgotten long ago.
                lot: Some(LotId::of_award(campaign, self.event, id)),
                points: *points,
                available_from: None,
                expires: None,
                source: Source::Campaign {
                    campaign: campaign.clone(),
                    version: *version,
                    event: self.event,
                    sale: sale.clone(),
                },
                reference: None,
            }),
            Task::TakeBack { sale, return_id, returned, total } => Command::ReverseSale {
                sale: sale.clone(),
                return_id: return_id.clone(),
                returned: *returned,
                total: *total,
            },
        }
    }
}

#[cfg(test)]
mod tests;
