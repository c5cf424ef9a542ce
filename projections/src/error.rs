//! Why a read model could not be made, compared or listed.

use accrue_event_store::follow::FollowError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no read model of that name.
    #[error("there is no projection {name:?}; there are {known}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Somebody else rebuilds it now.
    #[error("{0} is being rebuilt by another process")]
    Busy(&'static str),
    /// Readers held the tables for too long to switch them.
    #[error("{0} was built, but its tables were in use all the time; try again")]
    InUse(&'static str),
    /// An event or the database stood in the way.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The task that reads the log ended early.
    #[error("reading the log ended early")]
    ReaderLost,
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Follow(FollowError::Database(error))
    }
}

impl Error {
    pub(crate) fn unknown(name: &str) -> Self {
        let known: Vec<_> = crate::model::MODELS.iter().map(|model| model.name).collect();
        Self::UnknownModel { name: name.to_owned(), known: known.join(", ") }
    }
}
