//! Awards: every sale is judged by the campaigns that were active at its place in the log, and
//! every return takes its share of the points back.
//!
//! Invariants
//! - At most one award for a (campaign, event), whatever is killed when, and exactly one where the
//!   rules give points and the account takes them. The command's id and the lot's id follow from
//!   both.
//! - A sale is judged by the version of the rules that was in force at its position, also when it
//!   is judged much later, or when the campaign's own events come by another way: they are read
//!   from the log, up to the last event that is to be judged.
//! - One campaign never stops another: what cannot be judged is counted in `campaign_skips`.
//!
//! Fed by `SaleRecorded`, `SaleReturned` and what else earns; sends `Issue` and `ReverseSale` to
//! accounts.

use std::sync::Arc;

use accrue_domain::aggregate::Kind;
use accrue_domain::event::Event;
use accrue_event_store::codec::DecodeError;
use accrue_event_store::follow::{FollowError, Follower};
use accrue_event_store::ledger::Ledger;
use accrue_event_store::record::{Position, Recorded};
use accrue_event_store::{log, log_query};
use async_trait::async_trait;
use sqlx::PgConnection;

use crate::campaigns::Campaigns;
use crate::flight::Flight;
use crate::metrics::{For, Metrics};
use crate::plan::plan;
use crate::skips::{self, Skip};

/// The key of the checkpoint.
pub const NAME: &str = "awards";

/// The follower.
#[derive(Debug)]
pub struct Awards {
    ledger: Ledger,
    metrics: Metrics,
    campaigns: Campaigns,
    /// The campaigns' history is known up to here.
    known: Position,
    /// Nothing before this is judged any more.
    floor: Position,
    /// Whether events come in the order of the log: then one that comes again is told by its
    /// position, as where the checkpoint was set back. Where they come by partition, it cannot be.
    in_order: bool,
    /// Of the batch that was prepared last.
    skips: Vec<Skip>,
}

impl Awards {
    /// Awards over this ledger. `in_order` says whether events come in the order of the log.
    #[must_use]
    pub fn new(ledger: Ledger, metrics: Metrics, in_order: bool) -> Self {
        let campaigns = Campaigns::default();
        Self { ledger, metrics, campaigns, known: 0, floor: 0, in_order, skips: Vec::new() }
    }

    /// Takes in the history of every campaign up to a position.
    async fn learn(&mut self, until: Position) -> Result<(), FollowError> {
        if self.known >= until {
            return Ok(());
        }
        let mut conn = self.ledger.pool().acquire().await?;
        let codec = self.ledger.codec();
        loop {
            let (range, limit) = ((self.known, until), log::PAGE_EVENTS_MAX);
            let kinds = [Kind::Campaign];
            let page = log_query::read_kinds(&mut conn, codec, range, limit, &kinds).await?;
            for event in &page {
                take(&mut self.campaigns, event)?;
                self.known = event.position;
            }
            self.campaigns.forget_before(self.floor);
            if i64::try_from(page.len()).unwrap_or(i64::MAX) < limit {
                self.known = until;
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl Follower for Awards {
    fn name(&self) -> &str {
        NAME
    }

    async fn reset(&mut self, _: &mut PgConnection, position: Position) -> Result<(), FollowError> {
        // The log may be another server's now, and hold another history.
        (self.campaigns, self.known) = (Campaigns::default(), 0);
        self.floor = position;
        self.skips.clear();
        Ok(())
    }

    async fn prepare(&mut self, events: &[Arc<Recorded>]) -> Result<(), FollowError> {
        self.skips.clear();
        let first = events.iter().map(|event| event.position).min();
        let last = events.iter().map(|event| event.position).max();
        if self.in_order {
            self.floor = first.unwrap_or(self.floor);
        }
        self.learn(last.unwrap_or_default()).await?;
        let mut flight = Flight::new(self.ledger.executor(), &self.metrics);
        for event in events {
            let poison = |reason| FollowError::Poison { position: event.position, reason };
            let plan = plan(&self.campaigns, event).map_err(poison)?;
            self.skips.extend(plan.skips);
            for planned in plan.commands {
                flight.send(planned).await?;
            }
        }
        self.skips.extend(flight.finish().await?);
        Ok(())
    }

    async fn write(
        &mut self,
        conn: &mut PgConnection,
        _events: &[Arc<Recorded>],
    ) -> Result<(), FollowError> {
        skips::count(conn, &self.skips, self.in_order).await?;
        for skip in &self.skips {
            self.metrics.skips.get_or_create(&For { reason: skip.reason }).inc();
        }
        Ok(())
    }
}

/// Takes in an event of a campaign.
fn take(campaigns: &mut Campaigns, recorded: &Recorded) -> Result<(), FollowError> {
    let Some(stream) = &recorded.stream else { return Ok(()) };
    match &recorded.decoded {
        Ok(decoded) => {
            for event in decoded.events() {
                if let Event::Campaign(event) = event {
                    campaigns.evolve(stream, recorded.position, event);
                }
            }
            Ok(())
        }
        Err(DecodeError::Malformed { .. }) => {
            campaigns.damage(stream.clone());
            Ok(())
        }
        // What is behind it cannot be judged by this build.
        Err(error @ DecodeError::Unknown { .. }) => {
            Err(FollowError::NotReady(format!("position {}: {error}", recorded.position)))
        }
    }
}
