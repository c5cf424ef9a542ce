//! What an account had at an instant: the fold of its events recorded by then, settled as of then.

use std::collections::HashMap;

use accrue_domain::account::event::Event as Account;
use accrue_domain::account::lots::Lot;
use accrue_domain::account::{self, command::Command};
use accrue_domain::aggregate::{Aggregate, Context};
use accrue_domain::event::Event;
use accrue_domain::id::{CommandId, LotId};
use accrue_domain::program::Settings;
use accrue_event_store::codec::Codec;
use accrue_event_store::log::PAGE_EVENTS_MAX;
use accrue_event_store::log_query::read_stream_until;
use accrue_event_store::record::{Position, Recorded};
use accrue_event_store::stream::StreamKey;
use chrono::{DateTime, Utc};
use serde_json::value::{RawValue, to_raw_value};
use sqlx::PgConnection;

use super::balance::{Balance, LotKey, LotView, Place, behind, dates};
use super::settled::Settled;

/// What the state does not keep of a lot: the position of the event that made it, and what did.
struct Origin {
    position: Position,
    source: Box<RawValue>,
}

#[derive(Default)]
struct History {
    state: account::Account,
    origins: HashMap<LotId, Origin>,
    version: i64,
    position: Position,
}

/// What the account of this stream had at an instant; none when it was not open yet.
///
/// # Errors
/// As Postgres gives them, and [`sqlx::Error::Decode`] for an event that this build does not
/// understand, or an account whose events contradict each other.
pub async fn at(
    conn: &mut PgConnection,
    codec: &Codec,
    stream: &StreamKey,
    at: DateTime<Utc>,
) -> sqlx::Result<Option<Balance>> {
    let history = History::until(conn, codec, stream, at).await?;
    Ok(history.map(|history| history.balance(stream.id(), at)))
}

/// Its lots with points at that instant, in the order of their expiry, behind `after`.
///
/// # Errors
/// As [`at`].
pub async fn lots_at(
    conn: &mut PgConnection,
    codec: &Codec,
    stream: &StreamKey,
    after: Option<LotKey>,
    limit: i64,
    at: DateTime<Utc>,
) -> sqlx::Result<Option<Vec<LotView>>> {
    let history = History::until(conn, codec, stream, at).await?;
    Ok(history.map(|mut history| behind(history.lots(), after, limit)))
}

fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

impl History {
    /// Settled as of then.
    async fn until(
        conn: &mut PgConnection,
        codec: &Codec,
        stream: &StreamKey,
        at: DateTime<Utc>,
    ) -> sqlx::Result<Option<Self>> {
        let mut history = Self::default();
        loop {
            let page = read_stream_until(conn, codec, stream, history.version, at, PAGE_EVENTS_MAX)
                .await?;
            let Some(last) = page.last() else { break };
            (history.version, history.position) = (last.sequence, last.position);
            for event in &page {
                history.take(event)?;
            }
        }
        if history.version == 0 {
            return Ok(None);
        }
        history.settle(at)?;
        Ok(Some(history))
    }

    fn take(&mut self, it: &Recorded) -> sqlx::Result<()> {
        let decoded = it.decoded.as_ref().map_err(|error| decode(error.clone()))?;
        for event in decoded.events() {
            let Event::Account(event) = event else { continue };
            self.state.evolve(event);
            let (lot, source) = match event {
                Account::PointsIssued { lot, source, .. } => (lot, to_raw_value(source)),
                Account::PointsCredited { lot, reason, actor, .. } => {
                    (lot, to_raw_value(&super::adjustment(reason, actor)))
                }
                Account::PointsRestored { hold, grace: Some(grace), .. } => {
                    (&grace.lot, to_raw_value(&super::restored(hold)))
                }
                Account::PointsRestored { grace: None, .. }
                | Account::AccountOpened {}
                | Account::PointsRedeemed { .. }
                | Account::PointsDebited { .. }
                | Account::PointsReversed { .. }
                | Account::DebtRepaid { .. }
                | Account::HoldPlaced { .. }
                | Account::HoldCaptured { .. }
                | Account::HoldReleased { .. }
                | Account::PointsExpired { .. } => continue,
            };
            let origin = Origin { position: it.position, source: source.map_err(decode)? };
            self.origins.insert(lot.clone(), origin);
        }
        Ok(())
    }

    fn settle(&mut self, now: DateTime<Utc>) -> sqlx::Result<()> {
        let command_id = CommandId::new("as-it-was").map_err(decode)?;
        let settings = Settings::default();
        let context =
            Context { now, occurred_at: now, command_id: &command_id, settings: &settings };
        for event in self.state.decide(Command::Settle, &context).map_err(decode)? {
            self.state.evolve(&event);
        }
        Ok(())
    }

    fn balance(mut self, account: &str, now: DateTime<Utc>) -> Balance {
        let lots = self.lots();
        let expiring = dates(&lots);
        let settled = Settled {
            available: self.state.available(now),
            pending: self.state.pending(now),
            held: self.state.held(),
            debt: self.state.debt().get(),
            // That is recorded here.
            repaid_active: 0,
            repaid_pending: 0,
        };
        let place = Place { version: self.version, position: self.position };
        Balance::new(account.to_owned(), settled, lots, expiring, place)
    }

    fn lots(&mut self) -> Vec<LotView> {
        let view = |(id, lot): (&LotId, &Lot)| {
            let Origin { position, source } = self.origins.remove(id)?;
            Some(LotView {
                lot: id.as_str().to_owned(),
                issued: lot.issued.get(),
                remaining: lot.free.get(),
                held: lot.held.get(),
                available_from: lot.available_from,
                expires_at: lot.expires_at,
                source,
                position,
            })
        };
        let all = self.state.lots().iter();
        let with_points = all.filter(|(_, lot)| !(lot.free.is_zero() && lot.held.is_zero()));
        let mut lots: Vec<_> = with_points.filter_map(view).collect();
        lots.sort_by_key(|lot| lot.key().order());
        lots
    }
}
