//! The tail of the log in memory: what was committed last, fanned out to every follower without
//! another read; whoever is further behind reads the database.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::codec::Codec;
use crate::executor::Others;
use crate::follow::{Status, UNKNOWN};
use crate::log;
use crate::record::{Position, Recorded};
use crate::servers::{Pool, Servers};

/// Most events kept in memory.
pub const TAIL_EVENTS_MAX: usize = 32_768;

/// As many while nobody has asked for any since so many were added: what is let go of soon is still in
/// the processor's cache then, and its memory used again.
const UNREAD_EVENTS_MAX: usize = 1_024;

/// Most bytes of their bodies.
pub const TAIL_BYTES_MAX: usize = 64 << 20;

/// How often the head is read for what other processes have appended.
pub const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// How long that may take.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// The tail. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tail(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ring: Mutex<Ring>,
    head: watch::Sender<Position>,
    /// Of the server that the events here are of.
    timeline: Mutex<String>,
    /// How often another server was found to have the log.
    moves: watch::Sender<u64>,
    /// Whoever says how far it has come in the log of the server before.
    followers: Mutex<Vec<Status>>,
    servers: Servers,
    pool: Pool,
    codec: Codec,
}

/// A run of events without a gap: this process appended all of `ours .. next`, and `batches` hold
/// `first .. next`.
#[derive(Debug, Default)]
struct Ring {
    batches: VecDeque<Vec<Arc<Recorded>>>,
    ours: Position,
    first: Position,
    next: Position,
    events: usize,
    bytes: usize,
    /// How many were added since somebody last asked for any.
    unread: usize,
}

impl Ring {
    fn at(next: Position) -> Self {
        Self { ours: next, first: next, next, ..Self::default() }
    }

    fn push(&mut self, events: Vec<Arc<Recorded>>) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        // Another process has appended in between: begin anew, the gap is read from disk.
        if first.position != self.next {
            *self = Self { unread: self.unread, ..Self::at(first.position) };
        }
        self.next = last.position + 1;
        self.events += events.len();
        self.unread = self.unread.saturating_add(events.len());
        self.bytes += bytes(&events);
        self.batches.push_back(events);
        while self.is_too_long() {
            if let Some(old) = self.batches.pop_front() {
                self.events -= old.len();
                self.bytes -= bytes(&old);
                self.first += Position::try_from(old.len()).unwrap_or(0);
            }
        }
    }

    fn is_too_long(&self) -> bool {
        let is_read = self.unread <= TAIL_EVENTS_MAX;
        let events_max = if is_read { TAIL_EVENTS_MAX } else { UNREAD_EVENTS_MAX };
        self.batches.len() > 1 && (self.events > events_max || self.bytes > TAIL_BYTES_MAX)
    }

    /// The events behind `after`; none where it does not reach back that far.
    fn read(&mut self, after: Position, limit: usize) -> Option<Vec<Arc<Recorded>>> {
        self.unread = 0;
        if after + 1 < self.first || after + 1 >= self.next {
            return None;
        }
        let mut found = Vec::new();
        let behind =
            |batch: &Vec<Arc<Recorded>>| batch.last().is_none_or(|last| last.position <= after);
        let first = self.batches.partition_point(behind);
        for batch in self.batches.iter().skip(first) {
            let fresh = batch.partition_point(|event| event.position <= after);
            found.extend(batch[fresh..].iter().take(limit - found.len()).cloned());
            if found.len() >= limit {
                break;
            }
        }
        Some(found)
    }

    /// Did this process append all of `after + 1 ..= until`?
    fn is_ours(&self, after: Position, until: Position) -> bool {
        self.ours <= after + 1 && until < self.next
    }
}

impl Tail {
    /// A tail that begins behind `head`, as a server on that timeline has it.
    #[must_use]
    pub fn new(
        (servers, pool): (Servers, Pool),
        codec: Codec,
        head: Position,
        timeline: String,
    ) -> Self {
        let ring = Ring::at(head + 1);
        Self(Arc::new(Inner {
            ring: Mutex::new(ring),
            head: watch::Sender::new(head),
            timeline: Mutex::new(timeline),
            moves: watch::Sender::new(0),
            followers: Mutex::default(),
            servers,
            pool,
            codec,
        }))
    }

    /// The last position that is known to be in the log, and a way to wait for later ones.
    #[must_use]
    pub fn head(&self) -> watch::Receiver<Position> {
        self.0.head.subscribe()
    }

    /// News of another server that has the log.
    #[must_use]
    pub fn moves(&self) -> watch::Receiver<u64> {
        self.0.moves.subscribe()
    }

    /// A follower's position is unknown from the moment on in which another server is found to
    /// have the log, until the follower has asked that one.
    pub fn invalidates(&self, follower: Status) {
        self.0.followers.lock().unwrap_or_else(PoisonError::into_inner).push(follower);
    }

    /// The decoder that everything here was read with.
    #[must_use]
    pub fn codec(&self) -> &Codec {
        &self.0.codec
    }

    /// Adds what this process has just committed.
    pub fn push(&self, events: Vec<Arc<Recorded>>) {
        let Some(last) = events.last().map(|last| last.position) else { return };
        self.ring().push(events);
        self.advance(last);
    }

    /// The events behind `after`, in order, without a gap, at most about `limit` of them; empty
    /// when there are none.
    ///
    /// # Errors
    /// As Postgres gives them, when memory does not reach back that far.
    pub async fn read(&self, after: Position, limit: usize) -> sqlx::Result<Vec<Arc<Recorded>>> {
        if after >= *self.0.head.borrow() {
            return Ok(Vec::new());
        }
        let recent = self.ring().read(after, limit);
        if let Some(events) = recent {
            return Ok(events);
        }
        let limit = i64::try_from(limit).unwrap_or(log::PAGE_EVENTS_MAX);
        let codec = &self.0.codec;
        self.0.pool.ask(async |conn| log::read_after(conn, codec, after, limit).await).await
    }

    /// Reads the head now and then, so that what other processes append is noticed; ends with
    /// `stop`. Programs that others have configured anew, and products that others have priced anew,
    /// are told to `others`: they are read by decisions that do not write their stream, so no
    /// conflict would ever tell. So is a log that another server has now.
    pub(crate) async fn poll(self, others: mpsc::Sender<Others>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut seen = *self.0.head.borrow();
        let mut timeline = self.timeline().clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let looked = self.0.pool.within(self.look(&mut seen, &mut timeline)).await;
            let news = match looked {
                Ok(news) => {
                    self.0.servers.outage().over();
                    news
                }
                Err(error) => {
                    self.0.servers.outage().met(&error);
                    tracing::debug!(%error, "the head of the log cannot be read");
                    continue;
                }
            };
            if let Some(news) = news
                && others.send(news).await.is_err()
            {
                return;
            }
        }
    }

    /// Reads the head, and what others have changed behind `seen`.
    async fn look(
        &self,
        seen: &mut Position,
        timeline: &mut String,
    ) -> sqlx::Result<Option<Others>> {
        let known = *self.0.head.borrow();
        let mut conn = self.0.pool.acquire().await?;
        let asked = tokio::time::timeout(LOOK_MAX, log::head_and_timeline(&mut conn)).await;
        let Ok(asked) = asked else {
            // A server that has vanished never answers; another one may have taken its place.
            drop(conn.detach());
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        };
        let (head, now) = asked?;
        let moved = *timeline != now;
        let back = head < known;
        self.is_on(&now, back.then_some(head));
        *timeline = now;
        if moved || back {
            *seen = head;
            self.advance(head);
            return Ok(Some(Others::Moved));
        }
        let changed = if head <= *seen || self.ring().is_ours(*seen, head) {
            Vec::new()
        } else {
            log::configured(&mut conn, *seen, head).await?
        };
        *seen = head.max(*seen);
        self.advance(head);
        Ok((!changed.is_empty()).then_some(Others::Changed(changed)))
    }

    /// Makes sure that nothing is read here that the server of this connection does not have: one
    /// that was promoted may lack the last that the one before had.
    ///
    /// # Errors
    /// As Postgres gives them.
    pub async fn agree(&self, conn: &mut PgConnection) -> sqlx::Result<()> {
        let timeline = log::timeline(conn).await?;
        self.is_on(&timeline, None);
        Ok(())
    }

    /// Forgets the events in memory, and where followers are, when the timeline is another or the
    /// log has gone back. Returns the term of the servers that this found out to have begun.
    pub(crate) fn is_on(&self, timeline: &str, back_to: Option<Position>) -> Option<u64> {
        let moved = {
            let mut known = self.timeline();
            let moved = *known != timeline;
            timeline.clone_into(&mut known);
            moved
        };
        if !moved && back_to.is_none() {
            return None;
        }
        // Before anybody is told.
        let term = moved.then(|| self.0.servers.moved());
        let head = back_to.unwrap_or(*self.0.head.borrow());
        *self.ring() = Ring::at(head + 1);
        if let Some(head) = back_to {
            tracing::error!(head, "the log has gone back: commits were lost in the database");
            self.0.head.send_replace(head);
        }
        for follower in &*self.0.followers.lock().unwrap_or_else(PoisonError::into_inner) {
            follower.moved(UNKNOWN);
        }
        self.0.moves.send_modify(|count| *count += 1);
        term
    }

    fn advance(&self, head: Position) {
        self.0.head.send_if_modified(|known| {
            let news = head > *known;
            *known = head.max(*known);
            news
        });
    }

    fn timeline(&self) -> MutexGuard<'_, String> {
        self.0.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of these events' bodies.
fn bytes(events: &[Arc<Recorded>]) -> usize {
    events.iter().map(|event| event.row.payload.len() + event.row.metadata.len()).sum()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::record::{Decoded, Row};

    /// The event at a position.
    fn event(position: Position) -> Arc<Recorded> {
        let row = Row {
            program: "default".into(),
            aggregate_type: "theirs".into(),
            aggregate_id: "default/1".into(),
            event_type: "Seen".into(),
            event_version: "1".into(),
            payload: "{}".to_owned(),
            metadata: "{}".to_owned(),
            recorded_at: DateTime::UNIX_EPOCH,
        };
        let (row, decoded) = (Arc::new(row), Ok(Decoded::Foreign));
        Arc::new(Recorded { position, stream: None, sequence: position, row, decoded })
    }

    /// Adds batches of a hundred, until `last`.
    fn push(ring: &mut Ring, last: Position) {
        while ring.next <= last {
            ring.push((ring.next..ring.next + 100).map(event).collect());
        }
    }

    fn positions(found: Option<Vec<Arc<Recorded>>>) -> Option<Vec<Position>> {
        found.map(|events| events.iter().map(|event| event.position).collect())
    }

    #[test]
    fn what_somebody_reads_is_kept_for_long() {
        let mut ring = Ring::at(1);
        push(&mut ring, 30_000);
        assert_eq!(positions(ring.read(0, 2)), Some(vec![1, 2]));
        push(&mut ring, 50_000);
        assert_eq!(ring.events, 32_700);
        assert_eq!(positions(ring.read(0, 2)), None, "it is gone");
        assert_eq!(positions(ring.read(17_300, 2)), Some(vec![17_301, 17_302]));
    }

    #[test]
    fn what_nobody_reads_is_let_go_of_soon_until_somebody_does() {
        let mut ring = Ring::at(1);
        push(&mut ring, 40_000);
        assert_eq!(ring.events, 1_000);
        assert_eq!(positions(ring.read(38_999, 2)), None, "it is gone");
        assert_eq!(positions(ring.read(39_000, 2)), Some(vec![39_001, 39_002]));
        push(&mut ring, 60_000);
        assert_eq!(ring.events, 21_000);
    }

    #[test]
    fn what_was_let_go_of_is_ours_still_and_what_others_appended_is_not() {
        let mut ring = Ring::at(1);
        push(&mut ring, 40_000);
        assert!(ring.is_ours(0, 40_000));
        assert!(!ring.is_ours(0, 40_001), "it is not here yet");
        ring.push(vec![event(40_002)]);
        assert!(!ring.is_ours(40_000, 40_002));
        assert!(ring.is_ours(40_001, 40_002));
    }
}
