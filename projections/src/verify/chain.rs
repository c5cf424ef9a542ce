//! The log itself: every hash recomputed from the rows, positions and sequences without a gap.

use std::sync::Arc;

use accrue_event_store::chain::{self, Hash, MARK_BYTES, Root};
use accrue_event_store::codec::Codec;
use accrue_event_store::ledger::PLANS;
use accrue_event_store::log::read_range;
use accrue_event_store::record::{Position, Recorded};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Row as _};

use super::{Finding, Progress};
use crate::error::Error;
use crate::model::script;

/// Commits in a page; their events are read as they come.
const PAGE_COMMITS: i64 = 1_000;

/// Events that are read at a time.
const PAGE_EVENTS: i64 = 5_000;

const SUBJECT: &str = "log";

pub(super) async fn verify(
    options: &PgConnectOptions,
    codec: &Codec,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Vec<Finding>, Error> {
    let options = options.clone().application_name("accrue verify");
    let mut conn = options.options(PLANS).options([("search_path", "public")]).connect().await?;
    script(&mut conn, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
    let mut findings = Vec::new();
    findings.extend(walk(&mut conn, codec, progress).await?);
    findings.extend(sequences(&mut conn).await?);
    conn.close().await?;
    Ok(findings)
}

fn found(position: Position, detail: impl Into<String>) -> Finding {
    Finding { subject: SUBJECT, position, detail: detail.into() }
}

/// One row of `commits`.
struct Commit {
    first: Position,
    last: Position,
    root: Vec<u8>,
    hash: Vec<u8>,
    /// None where a build wrote it that made none.
    marks: Option<Vec<u8>>,
}

/// Follows the chain to its end, or to the first link that does not hold: what comes behind it
/// proves nothing.
async fn walk(
    conn: &mut PgConnection,
    codec: &Codec,
    progress: &mut (impl FnMut(Progress) + Send),
) -> Result<Option<Finding>, Error> {
    let (until, head_hash): (Position, Vec<u8>) =
        sqlx::query_as("SELECT position, hash FROM log_head").fetch_one(&mut *conn).await?;
    let (mut at, mut hash) = (0, chain::genesis());
    loop {
        let commits = commits(conn, at).await?;
        if commits.is_empty() {
            break;
        }
        for commit in &commits {
            if commit.first != at + 1 || commit.last < commit.first {
                let (first, last) = (commit.first, commit.last);
                let detail = format!("a commit covers {first} to {last}, expected one from here");
                return Ok(Some(found(at + 1, detail)));
            }
            match root(conn, codec, commit).await? {
                Err(finding) => return Ok(Some(finding)),
                Ok((root, marks)) if root[..] != commit.root[..] => {
                    return Ok(Some(altered(commit, &marks)));
                }
                Ok((root, _)) => hash = chain::next(&hash, &root),
            }
            if hash[..] != commit.hash[..] {
                let detail = "the hash does not follow from those before it";
                return Ok(Some(found(commit.first, detail)));
            }
            at = commit.last;
            progress(Progress { subject: SUBJECT, position: at, until });
        }
    }
    end(conn, at, until, hash[..] == head_hash[..]).await
}

/// The first event of a commit that is not the one that was written, by the marks that were written with
/// it and those of the events as they are.
fn altered(commit: &Commit, marks: &[u8]) -> Finding {
    let event = |marks| <[u8]>::chunks(marks, MARK_BYTES);
    let differing = commit.marks.as_deref().and_then(|written| {
        (commit.first..).zip(event(written).zip(event(marks))).find(|(_, (was, is))| was != is)
    });
    match differing {
        Some((position, _)) => found(position, "the event is not the one that was written"),
        None => {
            let (first, last) = (commit.first, commit.last);
            found(first, format!("the events {first} to {last} are not those that were written"))
        }
    }
}

/// Does the chain end where the log does?
async fn end(
    conn: &mut PgConnection,
    at: Position,
    until: Position,
    same_hash: bool,
) -> Result<Option<Finding>, Error> {
    if at != until {
        let detail = format!("the commits end at {at}, the head says {until}");
        return Ok(Some(found(at.min(until) + 1, detail)));
    }
    if !same_hash {
        return Ok(Some(found(at, "the head's hash is not that of the last commit")));
    }
    let outside: Option<Position> =
        sqlx::query_scalar("SELECT min(position) FROM events WHERE position > $1 OR position < 1")
            .bind(at)
            .fetch_one(conn)
            .await?;
    Ok(outside.map(|position| found(position, "an event that no commit covers")))
}

async fn commits(conn: &mut PgConnection, after: Position) -> sqlx::Result<Vec<Commit>> {
    let rows = sqlx::query(
        "SELECT first_position, last_position, root, hash, marks FROM commits
          WHERE last_position > $1 ORDER BY last_position LIMIT $2",
    )
    .bind(after)
    .bind(PAGE_COMMITS)
    .fetch_all(conn)
    .await?;
    let commit = |row: &sqlx::postgres::PgRow| {
        Ok(Commit {
            first: row.try_get(0)?,
            last: row.try_get(1)?,
            root: row.try_get(2)?,
            hash: row.try_get(3)?,
            marks: row.try_get(4)?,
        })
    };
    rows.iter().map(commit).collect()
}

/// The root of a commit's events as they are now, and their marks.
async fn root(
    conn: &mut PgConnection,
    codec: &Codec,
    commit: &Commit,
) -> sqlx::Result<Result<(Hash, Vec<u8>), Finding>> {
    let mut root = Root::default();
    let mut at = commit.first;
    while at <= commit.last {
        let last = commit.last.min(at + PAGE_EVENTS - 1);
        let events: Vec<Arc<Recorded>> = read_range(conn, codec, at, last).await?;
        for event in &events {
            if event.position != at {
                return Ok(Err(found(at, "the event is missing")));
            }
            root.push(&chain::leaf(event.sequence, &event.row));
            at += 1;
        }
        if at <= last {
            return Ok(Err(found(at, "the event is missing")));
        }
    }
    Ok(Ok(root.finish()))
}

/// Every stream counts from 1 without a gap, in the order of the log.
async fn sequences(conn: &mut PgConnection) -> sqlx::Result<Option<Finding>> {
    let row: Option<(Position, i64)> = sqlx::query_as(
        "SELECT position, sequence FROM (
             SELECT position, sequence,
                    lag(position, 1, 0::bigint) OVER stream AS before,
                    row_number() OVER stream AS expected
               FROM events
             WINDOW stream AS (PARTITION BY aggregate_type, aggregate_id ORDER BY sequence)) e
          WHERE sequence <> expected OR position <= before
          ORDER BY position LIMIT 1",
    )
    .fetch_optional(conn)
    .await?;
    let detail = |sequence| format!("sequence {sequence} does not follow in its stream");
    Ok(row.map(|(position, sequence)| found(position, detail(sequence))))
}
