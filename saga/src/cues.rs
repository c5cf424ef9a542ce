//! Cues by a feed that several processes share: each story's come to one of them, which spares the
//! others a try that would be refused as out of turn.
//!
//! Nothing is written: that a story goes on is promised by its timer. So what is old when it comes
//! is left to that, and a first look at a long history wakes nobody.

use std::sync::Arc;

use accrue_domain::aggregate::{Aggregate as _, Kind};
use accrue_event_store::clock::Clock;
use accrue_event_store::follow::{FollowError, Follower};
use accrue_event_store::record::{Position, Recorded};
use async_trait::async_trait;
use chrono::TimeDelta;
use sqlx::PgConnection;

use crate::runner::Runner;
use crate::story::Saga;

/// How old an event may be to be a cue. By then the timer of a step that nobody has taken is due.
const AGE_MAX: TimeDelta = TimeDelta::seconds(10);

/// Wakes stories.
pub(crate) struct Cues<S> {
    pub(crate) name: &'static str,
    pub(crate) stories: Runner<S>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl<S: Saga> Follower for Cues<S> {
    fn name(&self) -> &str {
        self.name
    }

    fn reads(&self, kind: Kind) -> bool {
        kind == S::State::KIND
    }

    async fn reset(&mut self, _: &mut PgConnection, _: Position) -> Result<(), FollowError> {
        Ok(())
    }

    async fn write(
        &mut self,
        _: &mut PgConnection,
        events: &[Arc<Recorded>],
    ) -> Result<(), FollowError> {
        let since = self.clock.now() - AGE_MAX;
        let fresh = events.iter().filter(|event| event.row.recorded_at >= since);
        self.stories.cues(&fresh.cloned().collect::<Vec<_>>());
        Ok(())
    }
}
