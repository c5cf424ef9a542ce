//! One event as a line: what it is called, what it changes, and what led to it.

use accrue_domain::account::command::Source;
use accrue_domain::account::event::{Event, Part, ReleaseReason};
use accrue_event_store::record::Metadata;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Kind of an entry for a lot that was issued.
const ISSUED: &str = "issued";

/// Kind of an entry for an issue that was taken back.
const REVERSED: &str = "reversed";

/// What led to an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// The command.
    pub command_id: String,
    /// The campaign whose award it is, or that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// The version of the campaign's rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// Position of the event that was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<i64>,
    /// The hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// The return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_id: Option<String>,
    /// Why: of an adjustment, or of a released hold (`requested`, `deadline`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who: of an adjustment, or who sent the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The client's own note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// What an event says in a statement.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) kind: &'static str,
    pub(super) points: i64,
    pub(super) held: i64,
    pub(super) debt: i64,
    pub(super) lot: Option<String>,
    pub(super) sale: Option<String>,
    pub(super) cause: Cause,
    /// JSON of the lots that moved.
    pub(super) lots: String,
}

/// Why a lot was issued: what the reversal of its issue says, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Award {
    pub(super) campaign: Option<String>,
    pub(super) version: Option<u32>,
    pub(super) sale: Option<String>,
}

impl Line {
    pub(super) fn of(event: &Event, metadata: &Metadata) -> serde_json::Result<Self> {
        let mut cause = Cause {
            command_id: metadata.command_id.to_string(),
            actor: metadata.actor.as_deref().map(str::to_owned),
            ..Cause::default()
        };
        let mut lots: &[Part] = &[];
        let mut line = match event {
            Event::AccountOpened {} => Self::called("opened"),
            Event::PointsIssued { lot, points, source, reference, .. } => {
                cause.reference.clone_from(reference);
                let sale = awarded(source, &mut cause);
                let lot = Some(lot.as_str().to_owned());
                Self { points: points.get(), lot, sale, ..Self::called(ISSUED) }
            }
            Event::PointsCredited { lot, points, reason, actor, reference, .. } => {
                adjusted(&mut cause, reason, actor, reference.as_ref());
                let lot = Some(lot.as_str().to_owned());
                Self { points: points.get(), lot, ..Self::called("credited") }
            }
            Event::PointsRedeemed { points, lots: parts, reference } => {
                lots = parts;
                cause.reference.clone_from(reference);
                Self { points: -points.get(), ..Self::called("redeemed") }
            }
            Event::PointsDebited { points, lots: parts, reason, actor, reference } => {
                lots = parts;
                adjusted(&mut cause, reason, actor, reference.as_ref());
                Self { points: -points.get(), ..Self::called("debited") }
            }
            Event::PointsReversed { lot, points, lots: parts, debt, return_id, reference } => {
                lots = parts;
                cause.return_id = return_id.as_ref().map(|id| id.as_str().to_owned());
                cause.reference.clone_from(reference);
                let (points, debt) = (debt.get() - points.get(), debt.get());
                let lot = Some(lot.as_str().to_owned());
                Self { points, debt, lot, ..Self::called(REVERSED) }
            }
            Event::DebtRepaid { points, lots: parts } => {
                lots = parts;
                let points = -points.get();
                Self { points, debt: points, ..Self::called("debt_repaid") }
            }
            Event::HoldPlaced { hold, points, lots: parts, reference, .. } => {
                lots = parts;
                cause.hold = Some(hold.as_str().to_owned());
                cause.reference.clone_from(reference);
                Self { held: points.get(), ..Self::called("hold_placed") }
            }
            Event::HoldCaptured { hold, points, lots: parts, released, reference } => {
                lots = parts;
                cause.hold = Some(hold.as_str().to_owned());
                cause.reference.clone_from(reference);
                let back: i64 = released.iter().map(|part| part.points.get()).sum();
                let (points, held) = (-points.get(), -points.get() - back);
                Self { points, held, ..Self::called("hold_captured") }
            }
            Event::HoldReleased { hold, points, lots: parts, reason, reference } => {
                lots = parts;
                cause.hold = Some(hold.as_str().to_owned());
                cause.reason = Some(why(*reason).to_owned());
                cause.reference.clone_from(reference);
                Self { held: -points.get(), ..Self::called("hold_released") }
            }
            Event::PointsRestored { hold, points, lots: parts, grace, reference } => {
                lots = parts;
                cause.hold = Some(hold.as_str().to_owned());
                cause.reference.clone_from(reference);
                let lot = grace.as_ref().map(|grace| grace.lot.as_str().to_owned());
                Self { points: points.get(), lot, ..Self::called("restored") }
            }
            Event::PointsExpired { points, lots: parts } => {
                lots = parts;
                Self { points: -points.get(), ..Self::called("expired") }
            }
        };
        line.cause = cause;
        line.lots = serde_json::to_string(lots)?;
        Ok(line)
    }

    fn called(kind: &'static str) -> Self {
        Self { kind, ..Self::default() }
    }

    /// The award that it is the issue of.
    pub(super) fn award(&self) -> Option<Award> {
        let Cause { campaign, version, .. } = &self.cause;
        let (campaign, version) = (campaign.clone(), *version);
        let given = self.kind == ISSUED && campaign.is_some();
        given.then(|| Award { campaign, version, sale: self.sale.clone() })
    }

    /// Takes back what a campaign gave.
    pub(super) fn takes_back(&mut self, award: Award) {
        self.sale = award.sale;
        (self.cause.campaign, self.cause.version) = (award.campaign, award.version);
    }

    /// An issue is taken back, and it is not known which.
    pub(super) fn is_open(&self) -> bool {
        self.kind == REVERSED && self.cause.campaign.is_none()
    }
}

fn adjusted(cause: &mut Cause, reason: &str, actor: &str, reference: Option<&String>) {
    cause.reason = Some(reason.to_owned());
    cause.actor = Some(actor.to_owned());
    cause.reference = reference.cloned();
}

/// Notes the campaign, and says for which sale it gave.
fn awarded(source: &Source, cause: &mut Cause) -> Option<String> {
    match source {
        Source::Issue | Source::Adjustment => None,
        Source::Campaign { campaign, version, event, sale } => {
            cause.campaign = Some(campaign.as_str().to_owned());
            cause.version = Some(*version);
            cause.event = Some(*event);
            sale.as_ref().map(|sale| sale.as_str().to_owned())
        }
    }
}

const fn why(reason: ReleaseReason) -> &'static str {
    match reason {
        ReleaseReason::Requested => "requested",
        ReleaseReason::Deadline => "deadline",
    }
}
