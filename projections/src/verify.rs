//! Verifying: that the log is what was written, and that every read model equals the fold of it.
//!
//! Each part works on one snapshot of the database, reads page by page, and leaves nothing behind.
//! Servers may run meanwhile.

use accrue_event_store::codec::Codec;
use accrue_event_store::record::Position;
use sqlx::postgres::PgConnectOptions;

use crate::error::Error;
use crate::model::MODELS;

mod chain;
mod projection;

/// Something that is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `log`, or the read model.
    pub subject: &'static str,
    /// The first position at which it shows.
    pub position: Position,
    /// What is wrong there.
    pub detail: String,
}

/// How far a part of the verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// `log`, or the read model.
    pub subject: &'static str,
    /// Everything up to here is done.
    pub position: Position,
    /// Where this part ends.
    pub until: Position,
}

/// Recomputes the hash chain and every read model. No finding: all is as it must be.
///
/// # Errors
/// [`Error`] when something could not be looked at; the findings are lost then.
pub async fn verify(
    options: &PgConnectOptions,
    codec: &Codec,
    mut progress: impl FnMut(Progress) + Send,
) -> Result<Vec<Finding>, Error> {
    let mut findings = chain::verify(options, codec, &mut progress).await?;
    for model in MODELS {
        findings.extend(projection::verify(options, codec, model, &mut progress).await?);
    }
    Ok(findings)
}
