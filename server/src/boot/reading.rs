//! The read models of a process: those that it keeps, and those that its routes ask.

use accrue_event_store::follow::{Feeds, Status};
use accrue_event_store::ledger::Ledger;
use accrue_projections::live::{self, Started, Views};
use anyhow::{Context, Result};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// What was started; all of it ends with the token that it was started with.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// What the routes ask; none without the role of the API.
    pub(super) views: Option<Views>,
    /// What this process keeps itself.
    pub(super) kept: Vec<Status>,
    /// What the routes ask, where that is a replica.
    pub(super) replica: Option<Views>,
    runners: Vec<JoinSet<()>>,
}

impl Reading {
    /// Starts what the roles need.
    pub(super) async fn start(
        config: &Config,
        ledger: &Ledger,
        feeds: &Feeds,
        stop: &CancellationToken,
    ) -> Result<Self> {
        let mut reading = Self::default();
        let mut views = None;
        if config.roles.projections {
            let started = live::start(ledger, feeds, stop.clone()).await;
            let started = reading.run(started.context("the read models cannot be started")?);
            reading.kept = started.statuses().into_iter().cloned().collect();
            views = Some(started);
        }
        if !config.roles.api {
            return Ok(reading);
        }
        if let Some(replica) = &config.read_database {
            let pool = replica.servers.pool(config.pool_connections_max);
            tokio::spawn(replica.servers.clone().keep(stop.clone()));
            let started = reading.run(live::replica(ledger, pool, stop.clone()));
            reading.replica = Some(started.clone());
            views = Some(started);
        }
        if views.is_none() {
            let started = live::observe(ledger, stop.clone()).await;
            views = Some(reading.run(started.context("the read models cannot be watched")?));
        }
        reading.views = views;
        Ok(reading)
    }

    fn run(&mut self, started: Started) -> Views {
        self.runners.push(started.runners);
        started.views
    }

    /// Answers that would go on for ever end.
    pub(super) fn end_streams(&self) {
        if let Some(views) = &self.views {
            views.streams.cancel();
        }
    }

    /// Waits until what the routes ask, or what is kept, has come to `position`.
    pub(super) async fn reached(&self, position: i64) {
        let asked = self.views.iter().flat_map(Views::statuses);
        for status in asked.chain(&self.kept) {
            status.reached(position).await;
        }
    }

    /// Returns when everything has ended.
    pub(super) async fn ended(self) {
        for mut runners in self.runners {
            while runners.join_next().await.is_some() {}
        }
        if let Some(views) = self.views {
            views.pool.close().await;
        }
    }
}
