//! `accrue relay`: the log into Kafka once more.

use std::io::{IsTerminal, Write};

use accrue_kafka::republish::{self, Done, Order};
use accrue_kafka::topics;
use anyhow::{Result, bail, ensure};
use clap::Args;
use sqlx::{ConnectOptions, Connection};
use tokio_util::sync::CancellationToken;

use crate::boot::unless_stopped;
use crate::config::{self, DatabaseFlags, KafkaFlags, Layers, Place};
use crate::database;
use crate::logging;
use crate::output::{self, grouped};

/// What, and where to.
#[derive(Debug, Args)]
#[command(after_help = "\
The topic is made if it is not there. Run again after a failure, it goes on behind what the topic
holds; consumers that read committed records see every event once.

Examples:
  accrue relay republish --from 1 --topic accrue.again.default --kafka-bootstrap kafka:9092
  accrue relay republish --from 1 --topic wide --kafka-partitions 48 --kafka-bootstrap kafka:9092")]
pub(crate) struct RepublishArgs {
    /// The first position
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(1..))]
    from: i64,
    /// The topic
    #[arg(long, value_name = "NAME")]
    topic: String,
    /// Events of this program [default: default]
    #[arg(long, value_name = "ID")]
    program: Option<String>,
    #[command(flatten)]
    kafka: KafkaFlags,
    #[command(flatten)]
    database: DatabaseFlags,
}

/// Publishes the log into another topic.
pub(crate) async fn republish(arguments: &RepublishArgs) -> Result<()> {
    let layers =
        Layers::of_relay(&arguments.database, &arguments.kafka, arguments.program.as_deref())?;
    let place = Place::read(&layers)?;
    let Some(settings) = config::kafka::read(&layers)? else {
        bail!("no Kafka is named: --kafka-bootstrap HOST:PORT");
    };
    ensure!(topics::is_name(&arguments.topic), "--topic: expected letters, digits and . _ -");
    // What is published there, of this program or another, would stand beside what is published here.
    ensure!(
        !topics::is_live(&settings.prefix, &arguments.topic),
        "--topic: {} is named as one that this ledger's servers use; expected one that does not \
         begin with {}. and events, commands, results or commands-dead",
        arguments.topic,
        settings.prefix
    );
    logging::quiet();
    let order = Order {
        from: arguments.from,
        program: config::program(&layers)?.as_str().to_owned(),
        topic: arguments.topic.clone(),
    };
    let done = database::with_signals(&place, async |database, signals| {
        let mut conn = database.options.connect().await?;
        database::check_schema(&mut conn, &database.name).await?;
        conn.close().await?;
        let stop = CancellationToken::new();
        let publishing = republish::republish(&database.options, settings, &order, &stop, show);
        tokio::pin!(publishing);
        match unless_stopped(signals, &mut publishing).await {
            Some(done) => Ok(done?),
            None => {
                stop.cancel();
                let _ended = publishing.await;
                bail!("stopped; run again, it goes on behind what the topic holds")
            }
        }
    })
    .await?;
    clear();
    output::line(&format!(
        "{} events of {} published to {}, {} were there; up to position {}",
        count(done.published),
        order.program,
        order.topic,
        count(done.there),
        grouped(done.position)
    ))?;
    Ok(())
}

fn show(done: Done) {
    if std::io::stderr().is_terminal() {
        let (position, head) = (grouped(done.position), grouped(done.head));
        let _unseen = write!(std::io::stderr(), "\r\x1b[K{position} of {head} events");
    }
}

fn clear() {
    if std::io::stderr().is_terminal() {
        let _unseen = write!(std::io::stderr(), "\r\x1b[K");
    }
}

fn count(events: u64) -> String {
    grouped(i64::try_from(events).unwrap_or(i64::MAX))
}
