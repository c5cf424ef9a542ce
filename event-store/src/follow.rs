//! Following the log: read in order, write an effect and the checkpoint in one transaction.
//!
//! A [`Follower`] is what is done with events; a [`Feed`] is where they come from, the log itself or
//! the log as Kafka has it; the [`Runner`] brings the two together.

mod applied;
mod checkpoint;
mod feed;
mod log_feed;
mod runner;
mod status;

use std::sync::Arc;

use accrue_domain::aggregate::Kind;
use async_trait::async_trait;
use sqlx::PgConnection;

use crate::record::{Position, Recorded};

pub use applied::Applied;
pub use checkpoint::{
    By, Claim, Parked, advance, begin, park, parked, position, positions, retire,
};
pub use feed::{Feed, Feeds, Next};
pub use log_feed::LogFeed;
pub use runner::{Runner, is_data_error};
pub(crate) use status::UNKNOWN;
pub use status::{Health, Status};

/// Something that follows the log: a read model, or a saga.
#[async_trait]
pub trait Follower: Send + 'static {
    /// Its name: the key of its checkpoint.
    fn name(&self) -> &str;

    /// Whether streams of that kind mean anything to it. Where they do, it stops at an event that
    /// this build does not know, and parks a stream with one that is damaged; where they do not,
    /// it gets such an event like any other, not decoded.
    fn reads(&self, _kind: Kind) -> bool {
        true
    }

    /// Called before the first batch, and again whenever the position was not moved by this
    /// follower itself: whatever is kept in memory is to be made anew. Everything up to `position`
    /// is behind it; where several workers share the work, more than that may be.
    ///
    /// # Errors
    /// As for [`Follower::write`].
    async fn reset(
        &mut self,
        conn: &mut PgConnection,
        position: Position,
    ) -> Result<(), FollowError>;

    /// Work before the transaction: commands to the executor, whose ids make a repetition
    /// harmless.
    ///
    /// # Errors
    /// As for [`Follower::write`].
    async fn prepare(&mut self, _events: &[Arc<Recorded>]) -> Result<(), FollowError> {
        Ok(())
    }

    /// Writes the effect of these events. The caller's transaction commits it together with the
    /// checkpoint, which was moved first. Events of one stream come in order; of several streams,
    /// other workers may have written later ones already.
    ///
    /// # Errors
    /// [`FollowError`]; nothing of the transaction is kept then.
    async fn write(
        &mut self,
        conn: &mut PgConnection,
        events: &[Arc<Recorded>],
    ) -> Result<(), FollowError>;
}

/// Why a follower could not take a batch.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// Postgres said so, or did not answer.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Something outside is not ready; the same batch is tried again.
    #[error("{0}")]
    NotReady(String),
    /// An event makes no sense here; its stream is parked from there on.
    #[error("event at {position}: {reason}")]
    Poison {
        /// Which event.
        position: Position,
        /// What is wrong with it.
        reason: String,
    },
}
