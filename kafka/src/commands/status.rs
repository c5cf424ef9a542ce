//! How the commands by Kafka are getting on, for whoever asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How they are getting on. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Status(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// What each record waits for that cannot be dealt with now, by its number.
    waiting: BTreeMap<u64, String>,
    last: u64,
    /// Why the last consumer has ended, until there is another.
    ended: Option<String>,
}

impl Status {
    /// Why not everything goes on at the moment, if that is so.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let inner = self.inner();
        let Some(first) = inner.waiting.values().next() else { return inner.ended.clone() };
        Some(match inner.waiting.len() {
            1 => format!("a record waits: {first}"),
            count => format!("{count} records wait, the first of them: {first}"),
        })
    }

    /// A record is to be dealt with.
    pub(super) fn begin(&self) -> Waits {
        Waits { status: self.clone(), number: None }
    }

    /// There is no consumer, for that reason.
    pub(super) fn ended(&self, reason: String) {
        self.inner().ended = Some(reason);
    }

    /// There is a consumer, and the group knows it.
    pub(super) fn goes_on(&self) {
        self.inner().ended = None;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a record waits for, if it does; nothing any more when this is dropped.
#[derive(Debug)]
pub(super) struct Waits {
    status: Status,
    number: Option<u64>,
}

impl Waits {
    /// It waits.
    pub(super) fn wait_for(&mut self, reason: &str) {
        let mut inner = self.status.inner();
        let number = *self.number.get_or_insert_with(|| {
            inner.last += 1;
            inner.last
        });
        inner.waiting.insert(number, reason.to_owned());
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.status.inner().waiting.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_many_wait_and_what_the_first_of_them_waits_for() {
        let status = Status::default();
        let (mut first, mut second, third) = (status.begin(), status.begin(), status.begin());
        assert_eq!(status.reason(), None);
        first.wait_for("no database");
        first.wait_for("no topic");
        assert_eq!(status.reason().as_deref(), Some("a record waits: no topic"));
        second.wait_for("no database");
        drop(third);
        let reason = status.reason();
        assert_eq!(reason.as_deref(), Some("2 records wait, the first of them: no topic"));
        drop(first);
        assert_eq!(status.reason().as_deref(), Some("a record waits: no database"));
        drop(second);
        status.ended("a defect".to_owned());
        assert_eq!(status.reason().as_deref(), Some("a defect"));
        status.goes_on();
        assert_eq!(status.reason(), None);
    }
}
