//! Events as lines, in bounded memory: the next page is read when the client has taken the one
//! before.

use std::sync::Arc;

use accrue_event_store::log_query::{self, Filter};
use accrue_event_store::record::{Position, Recorded};
use accrue_http::receipt::write_read;
use bytes::Bytes;
use futures::Stream;
use futures::stream::unfold;
use tokio::sync::watch;

use crate::api::reading;
use crate::live::Views;

/// Events in a page.
const PAGE_EVENTS: i64 = 500;

/// Where a stream of lines is.
struct Reading {
    views: Views,
    filter: Filter,
    after: Position,
    /// A page shows the log as of then at least.
    as_of: Option<Position>,
    /// How many events are still wanted; all where absent.
    left: Option<i64>,
    follow: bool,
    /// News of another server that has the log, perhaps without the last that this one had.
    moves: watch::Receiver<u64>,
    done: bool,
}

/// The events behind `after` that pass the filter, one a line, a chunk a page, of a log that has come
/// to `as_of` at least.
pub(super) fn lines(
    views: Views,
    filter: Filter,
    (after, as_of): (Position, Option<Position>),
    limit: Option<i64>,
    follow: bool,
) -> impl Stream<Item = sqlx::Result<Bytes>> {
    let moves = views.ledger.tail().moves();
    let reading = Reading { views, filter, after, as_of, left: limit, follow, moves, done: false };
    unfold(reading, async |mut reading| {
        let chunk = reading.chunk().await;
        if let Err(error) = &chunk {
            tracing::warn!(%error, "a stream of events breaks off");
            reading.done = true;
        }
        Some((chunk.transpose()?, reading))
    })
}

impl Reading {
    /// The next lines; none at the end. An error ends the connection, so that the client does not
    /// take what it has for the whole.
    async fn chunk(&mut self) -> sqlx::Result<Option<Bytes>> {
        // What is read to its end goes on to it, also where the server is about to leave.
        while !self.done
            && self.left != Some(0)
            && !(self.follow && self.views.streams.is_cancelled())
        {
            let (events, more) = self.page().await?;
            // What was sent before may be there no more, and other events in its place.
            if self.moves.has_changed().unwrap_or(true) {
                return Err(sqlx::Error::Protocol("another server has the log now".to_owned()));
            }
            if let Some(left) = &mut self.left {
                *left -= i64::try_from(events.len()).unwrap_or(*left);
            }
            self.done = !more && !self.follow;
            if !events.is_empty() {
                return Ok(Some(written(&events)));
            }
            if !more && self.follow {
                self.news().await;
            }
        }
        Ok(None)
    }

    async fn page(&mut self) -> sqlx::Result<(Vec<Arc<Recorded>>, bool)> {
        let limit = self.left.map_or(PAGE_EVENTS, |left| left.min(PAGE_EVENTS));
        let work = async {
            let conn = reading::connection(&self.views, None, self.as_of).await?;
            let mut conn = conn.ok_or(sqlx::Error::PoolTimedOut)?;
            let codec = self.views.ledger.codec();
            log_query::page(&mut conn, codec, &self.filter, self.after, limit).await
        };
        let page = self.views.pool.within(work).await?;
        self.after = page.until;
        Ok((page.events, page.more))
    }

    /// Waits for events, for the end of the server, or for another one to have the log.
    async fn news(&mut self) {
        let (mut head, mut moves) = (self.views.head(), self.moves.clone());
        tokio::select! {
            () = self.views.streams.cancelled() => {}
            _ = moves.changed() => {}
            _ = head.wait_for(|head| *head > self.after) => {}
        }
        // Another replica may not have them yet.
        self.as_of = self.as_of.max(Some(*head.borrow()));
    }
}

fn written(events: &[Arc<Recorded>]) -> Bytes {
    let mut text = String::with_capacity(events.len() * 400);
    for event in events {
        write_read(&mut text, event, '\n');
    }
    text.into()
}
