//! Read model: what each campaign is, and what it has given.
//!
//! Fed by: campaign events, and issues and reversals of accounts. Read by: `GET /v1/campaigns`,
//! `GET /v1/campaigns/{campaign}`.
//! Rebuild: drop the tables and replay; nothing here is a source of truth. (Skips are none: they
//! are counted by whoever judges, and only shown here.)
//! Invariant: a day's `awards` and `points` are those of the lots that name the campaign, on the
//! UTC day of their business time.

use std::collections::BTreeMap;
use std::sync::Arc;

use accrue_domain::account::command::Source;
use accrue_domain::account::event::Event as Account;
use accrue_domain::aggregate::Kind;
use accrue_domain::campaign::Event as Campaign;
use accrue_domain::event::Event;
use accrue_event_store::follow::FollowError;
use accrue_event_store::record::{Position, Recorded};
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;

use crate::model::{Fold, Map, Model};

mod read;
mod write;

pub use read::{CampaignView, Day, Skip, Summary, by_id, page};

/// The model.
pub static MODEL: Model = Model {
    name: "campaigns",
    version: 1,
    tables: &["campaigns", "campaign_days", "campaign_awards"],
    kinds: &[Kind::Campaign, Kind::Account],
    ddl: include_str!("campaigns.sql"),
    fold: || Box::<Campaigns>::default(),
};

/// Awards and reversals that a load keeps before it writes them.
const PENDING_MAX: usize = 20_000;

/// A lot: `program/account`, and its id.
type LotKey = (Arc<str>, String);

/// What the events so far change.
#[derive(Debug, Default)]
struct Campaigns {
    definitions: BTreeMap<Arc<str>, Definition>,
    /// By `program/campaign` and day.
    days: BTreeMap<(String, NaiveDate), DayChange>,
    awards: Map<LotKey, Award>,
    /// Reversals of lots that may be a campaign's.
    reversals: Vec<Reversal>,
}

/// A campaign's row, or what changes in it.
#[derive(Debug, Default)]
struct Definition {
    /// Its creation, where that is among the events folded here.
    created: Option<Created>,
    rules: Option<(u32, String)>,
    status: Option<&'static str>,
    stream_version: i64,
    updated_at: DateTime<Utc>,
    position: Position,
}

#[derive(Debug)]
struct Created {
    name: String,
    at: DateTime<Utc>,
    position: Position,
}

#[derive(Debug, Default)]
struct DayChange {
    awards: i64,
    points: i64,
    reversed: i64,
    position: Position,
}

#[derive(Debug)]
struct Award {
    campaign: String,
    position: Position,
}

#[derive(Debug)]
struct Reversal {
    lot: LotKey,
    day: NaiveDate,
    points: i64,
    position: Position,
}

#[async_trait]
impl Fold for Campaigns {
    fn event(&mut self, it: &Recorded) -> Result<(), FollowError> {
        for event in it.events() {
            match event {
                Event::Campaign(event) => self.campaign_event(it, event)?,
                Event::Account(event) => self.account_event(it, event)?,
                Event::Product(_)
                | Event::Program(_)
                | Event::Purchase(_)
                | Event::Sale(_)
                | Event::Wallet(_) => {}
            }
        }
        Ok(())
    }

    fn part(&mut self) -> Option<Box<dyn Fold>> {
        if self.awards.len() + self.reversals.len() < PENDING_MAX {
            return None;
        }
        Some(Box::new(std::mem::take(self)))
    }

    async fn write(&mut self, conn: &mut PgConnection) -> Result<(), FollowError> {
        write::definitions(conn, std::mem::take(&mut self.definitions)).await?;
        self.attribute(conn).await?;
        write::awards(conn, std::mem::take(&mut self.awards)).await?;
        Ok(write::days(conn, std::mem::take(&mut self.days)).await?)
    }
}

impl Campaigns {
    fn campaign_event(&mut self, it: &Recorded, event: &Campaign) -> Result<(), FollowError> {
        let occurred_at = occurred_at(it)?;
        let campaign = self.definitions.entry(Arc::clone(&it.row.aggregate_id)).or_default();
        campaign.stream_version = it.sequence;
        campaign.position = it.position;
        campaign.updated_at = occurred_at;
        match event {
            Campaign::CampaignCreated { name, version, rules } => {
                let name = name.clone();
                campaign.created = Some(Created { name, at: occurred_at, position: it.position });
                campaign.rules = Some((*version, rules.to_string()));
                campaign.status = Some("draft");
            }
            Campaign::CampaignRulesReplaced { version, rules } => {
                campaign.rules = Some((*version, rules.to_string()));
            }
            Campaign::CampaignActivated {} => campaign.status = Some("active"),
            Campaign::CampaignPaused {} => campaign.status = Some("paused"),
            Campaign::CampaignRetired {} => campaign.status = Some("retired"),
        }
        Ok(())
    }

    fn account_event(&mut self, it: &Recorded, event: &Account) -> Result<(), FollowError> {
        let lot_key = |lot: &str| (Arc::clone(&it.row.aggregate_id), lot.to_owned());
        match event {
            Account::PointsIssued {
                lot,
                points,
                source: Source::Campaign { campaign, .. },
                ..
            } => {
                let program = &it.row.program;
                let key = (format!("{program}/{campaign}"), occurred_at(it)?.date_naive());
                let day = self.days.entry(key).or_default();
                day.awards += 1;
                day.points += points.get();
                day.position = it.position;
                let campaign = campaign.as_str().to_owned();
                let award = Award { campaign, position: it.position };
                self.awards.insert(lot_key(lot.as_str()), award);
            }
            Account::PointsReversed { lot, points, .. } => self.reversals.push(Reversal {
                lot: lot_key(lot.as_str()),
                day: occurred_at(it)?.date_naive(),
                points: points.get(),
                position: it.position,
            }),
            Account::PointsIssued { .. }
            | Account::AccountOpened {}
            | Account::PointsCredited { .. }
            | Account::PointsRedeemed { .. }
            | Account::PointsDebited { .. }
            | Account::DebtRepaid { .. }
            | Account::HoldPlaced { .. }
            | Account::HoldCaptured { .. }
            | Account::HoldReleased { .. }
            | Account::PointsRestored { .. }
            | Account::PointsExpired { .. } => {}
        }
        Ok(())
    }

    /// Finds the campaign of each reversed lot, among these events or in the table; a lot that is
    /// no campaign's is none of ours.
    async fn attribute(&mut self, conn: &mut PgConnection) -> sqlx::Result<()> {
        let reversals = std::mem::take(&mut self.reversals);
        let unknown = reversals.iter().map(|it| &it.lot);
        let unknown: Vec<_> = unknown.filter(|lot| !self.awards.contains_key(*lot)).collect();
        let known = write::campaigns_of(conn, &unknown).await?;
        for Reversal { lot, day, points, position } in &reversals {
            let award = self.awards.get(lot).map(|award| &award.campaign);
            let Some(campaign) = award.or_else(|| known.get(lot)) else { continue };
            let (program, _) = super::split(&lot.0);
            let day = self.days.entry((format!("{program}/{campaign}"), *day)).or_default();
            day.reversed += points;
            day.position = day.position.max(*position);
        }
        Ok(())
    }
}

fn occurred_at(it: &Recorded) -> Result<DateTime<Utc>, FollowError> {
    let metadata = it.metadata();
    metadata
        .map(|metadata| metadata.occurred_at)
        .map_err(|error| FollowError::Poison { position: it.position, reason: error.to_string() })
}
