//! What the topics hold when a session begins, and whether they still hold it later.

use std::sync::Arc;

use accrue_event_store::record::Recorded;

use super::{Error, Session};
use crate::book::At;
use crate::progress::{self, Known, Moved};
use crate::survey::blocking;
use crate::topics;

/// A partition of a topic that was not seen before.
const UNSEEN: Known = Known { position: -1, next_offset: 0 };

impl Session<'_> {
    /// Looks at the topics of these events that were not looked at; false when the lease is lost.
    pub(super) async fn enter_all(&mut self, page: &[Arc<Recorded>]) -> Result<bool, Error> {
        for event in page {
            let program = &event.row.program;
            if self.names.contains_key(program) {
                continue;
            }
            let topic = topics::events(&self.relay.settings.prefix, program);
            if !self.book.knows(&topic) && !self.enter(&topic).await? {
                return Ok(false);
            }
            self.names.insert(Arc::clone(program), topic.into());
        }
        Ok(true)
    }

    /// Looks at a topic; false when the lease is lost. Where a partition has less than Kafka has
    /// acknowledged, the log is read again from there.
    pub(super) async fn enter(&mut self, topic: &str) -> Result<bool, Error> {
        let known = self.progress.topics.get(topic).cloned();
        let count = known.as_ref().map(Vec::len);
        let ends = self.survey.ends(&mut self.conn, topic, count).await?;
        let known = known.unwrap_or_else(|| vec![UNSEEN; ends.len()]);
        let found: Vec<Known> = ends
            .iter()
            .zip(&known)
            .map(|(end, known)| {
                let position = end.position(known.position, known.next_offset).max(0);
                let found = Known { position, next_offset: end.high };
                if position > known.position { found } else { *known }
            })
            .collect();
        // What the last holder published and did not live to note is noted now, or nobody would
        // miss it later: the checkpoint passes what is there without a word.
        if found != known && !self.keep(topic, &found).await? {
            return Ok(false);
        }
        let known = found;
        let (mut entries, mut lost) = (Vec::with_capacity(ends.len()), Vec::new());
        for (partition, (end, known)) in (0..).zip(ends.iter().zip(&known)) {
            let position = end.position(known.position, known.next_offset);
            if position < known.position {
                tracing::error!(
                    topic,
                    partition,
                    position,
                    acknowledged = known.position,
                    "Kafka has lost what it had acknowledged; it is published again"
                );
                self.cursor = self.cursor.min(position);
                lost.push(partition);
            }
            entries.push(At { position, offset_min: end.high });
        }
        // Before anything is published to them.
        let epoch = self.terms.epoch();
        if !lost.is_empty() && !progress::read_anew(&mut self.conn, epoch, topic, &lost).await? {
            return Ok(false);
        }
        self.book.enter(topic, entries);
        self.progress.topics.insert(topic.to_owned(), known);
        Ok(true)
    }

    /// Is every topic still as long as it was? Each time one of them.
    pub(super) async fn check_ends(&mut self) -> Result<(), Error> {
        self.checks += 1;
        let turn = self.checks % self.book.topics().count().max(1);
        let Some((topic, partitions)) = self.book.topics().nth(turn) else { return Ok(()) };
        let least: Vec<i64> = partitions.iter().map(|it| it.offset_min).collect();
        let (looker, asked) = (Arc::clone(&self.survey.looker), topic.to_string());
        let count = i32::try_from(least.len()).unwrap_or(i32::MAX);
        let highs = blocking(move || looker.highs(&asked, count)).await?;
        if highs.iter().zip(&least).any(|(high, least)| high < least) {
            return Err(Error::Shorter(topic.to_string()));
        }
        Ok(())
    }

    /// Remembers a topic's partitions, all of them from its first day on.
    async fn keep(&mut self, topic: &str, known: &[Known]) -> Result<bool, Error> {
        let topic: Arc<str> = topic.into();
        let moved = (0..).zip(known).map(|(partition, known)| Moved {
            topic: Arc::clone(&topic),
            partition,
            known: *known,
        });
        let (moved, at) = (moved.collect::<Vec<_>>(), self.progress.position);
        Ok(progress::write(&mut self.conn, self.terms.epoch(), at, at, &moved).await?)
    }
}
