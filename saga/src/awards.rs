//! Awards: every sale is judged by the campaigns that were active at its place in the log, and
//! every return takes its share of the points back.
//!
//! Invariants
//! - At most one award for a (campaign, event), whatever is killed when, and exactly one where the
//!   rules give points and the account takes them. The command's id and the lot's id follow from
//!   both.
//! - A sale is judged by the version of the rules that was in force at its position, also when it
//!   is judged much later.
//! - One campaign never stops another: what cannot be judged is counted in `campaign_skips`.
//!
//! Fed by `SaleRecorded`, `SaleReturned` and the campaigns' own events; sends `Issue` and
//! `ReverseSale` to accounts.

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
    /// As of the event that was prepared last. Where a batch is prepared and then not committed,
    /// the runner resets it.
    campaigns: Campaigns,
    /// Of the batch that was prepared last.
    skips: Vec<Skip>,
}

impl Awards {
    /// Awards over this ledger.
    #[must_use]
    pub fn new(ledger: Ledger, metrics: Metrics) -> Self {
        Self { ledger, metrics, campaigns: Campaigns::default(), skips: Vec::new() }
    }

    /// Takes in the history of every campaign up to a position.
    async fn learn(&mut self, conn: &mut PgConnection, until: Position) -> Result<(), FollowError> {
        let codec = self.ledger.codec();
        let mut after = 0;
        loop {
            let (range, limit) = ((after, until), log::PAGE_EVENTS_MAX);
            let page = log_query::read_kinds(conn, codec, range, limit, &[Kind::Campaign]).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.position;
            for event in &page {
                take(&mut self.campaigns, event)?;
            }
        }
    }
}

#[async_trait]
impl Follower for Awards {
    fn name(&self) -> &str {
        NAME
    }

    async fn reset(
        &mut self,
        conn: &mut PgConnection,
        position: Position,
    ) -> Result<(), FollowError> {
        self.campaigns = Campaigns::default();
        self.skips.clear();
        self.learn(conn, position).await
    }

    async fn prepare(&mut self, events: &[Arc<Recorded>]) -> Result<(), FollowError> {
        self.skips.clear();
        let mut flight = Flight::new(self.ledger.executor(), &self.metrics);
        for event in events {
            let poison = |reason| FollowError::Poison { position: event.position, reason };
            let plan = plan(&mut self.campaigns, event).map_err(poison)?;
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
        skips::count(conn, &self.skips).await?;
        for skip in &self.skips {
            self.metrics.skips.get_or_create(&For { reason: skip.reason }).inc();
        }
        Ok(())
    }
}

/// Takes in an event that lies behind the checkpoint, as it was taken in when it was passed.
fn take(campaigns: &mut Campaigns, recorded: &Recorded) -> Result<(), FollowError> {
    let Some(stream) = &recorded.stream else { return Ok(()) };
    match &recorded.decoded {
        Ok(decoded) => {
            for event in decoded.events() {
                if let Event::Campaign(event) = event {
                    campaigns.evolve(stream, event);
                }
            }
            Ok(())
        }
        Err(DecodeError::Malformed { .. }) => {
            campaigns.damage(stream.clone());
            Ok(())
        }
        // Whoever moved the checkpoint past it was a newer build.
        Err(error @ DecodeError::Unknown { .. }) => {
            Err(FollowError::NotReady(format!("position {}: {error}", recorded.position)))
        }
    }
}
