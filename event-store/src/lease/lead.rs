//! Holding a lease for as long as a process lives, and working while it is held.

use std::future::Future;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Lease, RENEW_INTERVAL, RETRY_INTERVAL, TERM};
use crate::backend::Backend;
use crate::servers::Servers;

/// A time in which this process holds a lease.
#[derive(Debug, Clone)]
pub struct Terms {
    name: String,
    epoch: i64,
    over: CancellationToken,
}

impl Terms {
    /// The lease's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What to give to [`super::guard`].
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Cancelled when the lease is lost, has lapsed, or the process stops: work is to end then. It
    /// may come late, where the process was paused; see [`super::guard`].
    #[must_use]
    pub fn over(&self) -> &CancellationToken {
        &self.over
    }
}

/// Works whenever this process holds the lease, until `stop`. Work that ends by itself gives the
/// lease back, and begins anew when it is had again. The lease is renewed from a task and over a
/// connection of its own: work that is busy does not lose it.
pub async fn lead<W, F>(servers: Servers, name: &str, stop: CancellationToken, work: W)
where
    W: Fn(Terms) -> F,
    F: Future<Output = ()>,
{
    let (holder, mut last) = (holder(), None);
    while !stop.is_cancelled() {
        let tried = tokio::select! {
            () = stop.cancelled() => return,
            tried = timeout(TERM, acquire(&servers, name, &holder, &mut last)) => {
                tried.unwrap_or(Err(sqlx::Error::PoolTimedOut))
            }
        };
        match tried {
            Ok(Some((session, lease))) => {
                hold(session, lease, &stop, &work).await;
                // Who gave it up lets others have it first.
                sleep(RETRY_INTERVAL * 2).await;
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(lease = name, %error, "the lease cannot be asked for"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(RETRY_INTERVAL) => {}
        }
    }
}

/// What a lease is renewed over.
#[derive(Debug)]
struct Session {
    conn: PgConnection,
    servers: Servers,
    /// Of [`Servers::term`].
    term: u64,
}

impl Session {
    /// Is another server chosen since? What this one says of the lease, others do not hear.
    fn is_left(&self) -> bool {
        self.servers.term() != self.term
    }
}

/// Asks for the lease, unless the session that it was asked or held by last still waits for something,
/// such as the standby: each try would leave one more of them behind.
async fn acquire(
    servers: &Servers,
    name: &str,
    holder: &str,
    last: &mut Option<Backend>,
) -> sqlx::Result<Option<(Session, Lease)>> {
    let application = format!("accrue lease {name}");
    let named = |options: PgConnectOptions| options.application_name(&application);
    let (term, mut conn) = servers.connect_in_term(named).await?;
    if let Some(before) = *last
        && before.lives(&mut conn).await?
    {
        return conn.close().await.map(|()| None);
    }
    *last = Some(Backend::of(&mut conn).await?);
    if let Some(lease) = Lease::acquire(&mut conn, name, holder, TERM).await? {
        return Ok(Some((Session { conn, servers: servers.clone(), term }, lease)));
    }
    *last = None;
    conn.close().await.map(|()| None)
}

/// Works until the work or the lease ends.
async fn hold<W, F>(session: Session, lease: Lease, stop: &CancellationToken, work: &W)
where
    W: Fn(Terms) -> F,
    F: Future<Output = ()>,
{
    let (name, epoch) = (lease.name().to_owned(), lease.epoch());
    tracing::info!(lease = name, epoch, "lease taken");
    let (over, done) = (stop.child_token(), CancellationToken::new());
    let keeping = tokio::spawn(keep(session, lease, over.clone(), done.clone()));
    // Also where the work panics: a lease that nobody works under is nobody's to keep.
    let released = done.drop_guard();
    work(Terms { name: name.clone(), epoch, over }).await;
    drop(released);
    if keeping.await.is_err() {
        tracing::error!(lease = name, "the keeper of the lease has failed; it will lapse");
    }
    tracing::info!(lease = name, epoch, "lease given up");
}

/// Renews until the work is done, then gives the lease back. Says that it is over when it lapses,
/// also while the database does not answer.
async fn keep(
    mut session: Session,
    mut lease: Lease,
    over: CancellationToken,
    done: CancellationToken,
) {
    loop {
        tokio::select! {
            () = done.cancelled() => break,
            () = sleep(RENEW_INTERVAL) => {}
        }
        let until = lease.until();
        if session.is_left() {
            tracing::warn!(lease = lease.name(), "another server has the lease now");
            over.cancel();
            // There it may have come along: not given back before the work has ended.
            let _done = timeout_at(lease.until(), done.cancelled()).await;
            break;
        }
        match timeout_at(until, lease.renew(&mut session.conn)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                tracing::warn!(lease = lease.name(), "another process has taken the lease");
                over.cancel();
                return;
            }
            // A connection that failed is not used again; what is left of the term still counts.
            Ok(Err(_)) | Err(_) => {
                tokio::select! {
                    () = done.cancelled() => return,
                    () = sleep(until.saturating_duration_since(Instant::now())) => {}
                }
                tracing::warn!(lease = lease.name(), "the lease could not be renewed");
                over.cancel();
                return;
            }
        }
    }
    // Lapsing is only slower.
    let released =
        timeout_at(Instant::now() + Duration::from_secs(1), lease.release(&mut session.conn));
    let _released = released.await;
}

/// Names this process for people; nothing depends on it.
fn holder() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_default();
    format!("{host}/{}", std::process::id())
}
