//! The log, or its end, into a topic of its own: for whoever needs it with other partitions, in the
//! other form, or without what an accident left in the first.
//!
//! Nothing is remembered in Postgres. Run again, it goes on behind what the topic holds; what would
//! have to be put before that is refused.

use std::collections::HashSet;
use std::sync::Arc;

use accrue_event_store::codec::Codec;
use accrue_event_store::log;
use accrue_event_store::placement;
use accrue_event_store::record::{Position, Recorded};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::book::{At, Book};
use crate::phases::Phases;
use crate::progress;
use crate::publisher::{Manner, PublishError};
use crate::settings::Settings;
use crate::survey::{Survey, SurveyError, blocking};

/// Events in a transaction.
const BATCH_EVENTS: i64 = log::PAGE_EVENTS_MAX;

/// What is to be published, and where to.
#[derive(Debug, Clone)]
pub struct Order {
    /// The first position.
    pub from: Position,
    /// Of this program.
    pub program: String,
    /// The topic; made if it is not there.
    pub topic: String,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Events that were published by now.
    pub published: u64,
    /// Events that the topic held already.
    pub there: u64,
    /// The last position that was looked at.
    pub position: Position,
    /// The last there is.
    pub head: Position,
}

/// Why it was not all published. Run again, it goes on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self(format!("Postgres: {error}"))
    }
}

impl From<SurveyError> for Failed {
    fn from(error: SurveyError) -> Self {
        Self(error.to_string())
    }
}

/// Publishes up to the head of the log as it is now.
///
/// # Errors
/// [`Failed`]; what was published until then stays.
pub async fn republish(
    options: &PgConnectOptions,
    settings: Settings,
    order: &Order,
    stop: &CancellationToken,
    mut show: impl FnMut(Done),
) -> Result<Done, Failed> {
    let settings = Arc::new(settings);
    let mut conn = options.connect().await?;
    if progress::is_of_the_relay(&mut conn, &order.topic).await? {
        let topic = &order.topic;
        return Err(Failed(format!("{topic} is written by the relay of this log's servers")));
    }
    let head = log::head(&mut conn).await?;
    let name = format!("{}.republish.{}", settings.prefix, order.topic);
    let codec = Codec::default();
    let (manner, phases) = (Manner::Swift, Phases::default());
    let survey = Survey::open(&settings, &codec, name, manner, phases, stop).await?;
    let mut done = Done { published: 0, there: 0, position: order.from.max(1) - 1, head };
    let all = publish(&survey, &mut conn, order, stop, &mut done, &mut show).await;
    survey.close().await;
    conn.close().await?;
    all.map(|()| done)
}

async fn publish(
    survey: &Survey,
    conn: &mut PgConnection,
    order: &Order,
    stop: &CancellationToken,
    done: &mut Done,
    show: &mut impl FnMut(Done),
) -> Result<(), Failed> {
    let topic: Arc<str> = order.topic.as_str().into();
    let ends = survey.ends(conn, &topic, None).await?;
    let firsts = survey.firsts(&topic, &ends).await?;
    one_program(
        order,
        ends.iter().filter_map(|it| it.last.as_ref()).chain(firsts.iter().flatten()),
    )?;
    nothing_before(conn, order, &firsts).await?;
    let at = ends.iter().map(|it| At { position: it.position(0, 0), offset_min: it.high });
    let mut book = Book::default();
    book.enter(&topic, at.collect());
    let topic_of = |it: &Recorded| (*it.row.program == *order.program).then(|| Arc::clone(&topic));
    while done.position < done.head && !stop.is_cancelled() {
        let limit = BATCH_EVENTS.min(done.head - done.position);
        let page = log::read_after(conn, &Codec::default(), done.position, limit).await?;
        let Some(last) = page.last().map(|it| it.position) else { break };
        let ours = page.iter().filter(|it| topic_of(it).is_some()).count();
        let outgoing = book.plan(&page, &HashSet::new(), topic_of).outgoing;
        let sent = outgoing.len();
        if sent > 0 {
            let (publisher, stop) = (Arc::clone(&survey.publisher), stop.clone());
            let (outgoing, published) = blocking(move || {
                let published = publisher.publish(&outgoing, &stop);
                (outgoing, published)
            })
            .await;
            let offsets = published.map_err(|error| too_large(&outgoing, error))?;
            book.published(&outgoing, &offsets);
        }
        done.position = last;
        done.published += u64::try_from(sent).unwrap_or_default();
        done.there += u64::try_from(ours - sent).unwrap_or_default();
        show(*done);
    }
    Ok(())
}

/// Refuses a topic that holds another program's events.
fn one_program<'a>(
    order: &Order,
    mut held: impl Iterator<Item = &'a Recorded>,
) -> Result<(), Failed> {
    match held.find(|it| *it.row.program != *order.program) {
        None => Ok(()),
        Some(other) => Err(Failed(format!(
            "{} holds events of the program {}, at position {}: {} needs a topic of its own",
            order.topic, other.row.program, other.position, order.program
        ))),
    }
}

/// Refuses a topic where an event would have to be put before those that it holds: it may have been
/// there and be kept no longer, or never have been there.
async fn nothing_before(
    conn: &mut PgConnection,
    order: &Order,
    firsts: &[Option<Recorded>],
) -> Result<(), Failed> {
    let count = i32::try_from(firsts.len()).unwrap_or(i32::MAX);
    let until = firsts.iter().flatten().map(|it| it.position).max().unwrap_or_default();
    let mut position = order.from.max(1) - 1;
    while position < until {
        let limit = BATCH_EVENTS.min(until - position);
        let page = log::read_after(conn, &Codec::default(), position, limit).await?;
        let Some(last) = page.last().map(|it| it.position) else { break };
        for event in page.iter().filter(|it| *it.row.program == *order.program) {
            let partition = placement::of_event(&event.row, count);
            let first = firsts.get(usize::try_from(partition).unwrap_or_default());
            if let Some(first) = first.and_then(Option::as_ref)
                && event.position < first.position
            {
                return Err(Failed(format!(
                    "partition {partition} of {} begins with position {}, and position {} belongs \
                     before it: it needs another topic, or a later --from",
                    order.topic, first.position, event.position
                )));
            }
        }
        position = last;
    }
    Ok(())
}

/// Names the event, since nothing here may set it aside.
fn too_large(outgoing: &[crate::publisher::Outgoing], error: PublishError) -> Failed {
    match &error {
        PublishError::TooLarge(which) => {
            let first = which.first().and_then(|at| outgoing.get(*at));
            let position = first.map_or(0, |it| it.event.position);
            Failed(format!("the event at position {position} is larger than a record may be"))
        }
        _ => Failed(error.to_string()),
    }
}
