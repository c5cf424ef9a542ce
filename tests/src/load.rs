//! Clients that go on asking while things break, and write down what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::client::{Answer, Client};

/// Accounts that points are issued to, where not all go to one.
const ACCOUNTS: usize = 10;

/// Between a refusal and the next try; a client that insists takes it behind every command.
const PAUSE: Duration = Duration::from_millis(20);

/// No two loads have a key in common.
static LOADS: AtomicU32 = AtomicU32::new(0);

/// What became of a command, as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was accepted.
    Accepted,
    /// It was surely not done.
    NotDone,
    /// Nobody said.
    Unknown,
}

/// A command with a key of its own, and its fate.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The key.
    pub key: String,
    /// What became of it.
    pub fate: Fate,
}

/// Clients at work; every command issues one point to one of a few accounts.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Vec<Sent>>>,
}

/// What all clients of a load go by, and count.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    accepted: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
}

/// What a client does with a command that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Sends it again, with the same key, until it is. In no hurry: a steady stream that whoever
    /// comes behind the log keeps up with, also while other tests want the machine.
    Insists,
    /// Goes on to the next.
    LetsGo,
}

impl Load {
    /// So many clients, each of a server of its own where there are several.
    #[must_use]
    pub fn start(clients: &[Client], count: usize, manner: Manner) -> Self {
        Self::on(ACCOUNTS, clients, count, manner)
    }

    /// As [`Load::start`], all of them to the same account.
    #[must_use]
    pub fn on_one_account(clients: &[Client], count: usize, manner: Manner) -> Self {
        Self::on(1, clients, count, manner)
    }

    fn on(accounts: usize, clients: &[Client], count: usize, manner: Manner) -> Self {
        let shared = Arc::new(Shared::default());
        let load = LOADS.fetch_add(1, Ordering::Relaxed);
        let worker = |at: usize| Worker {
            load,
            client: clients[at % clients.len()].clone(),
            name: at,
            accounts,
            manner,
            shared: Arc::clone(&shared),
        };
        let tasks = (0..count).map(|at| tokio::spawn(worker(at).work())).collect();
        Self { shared, tasks }
    }

    /// Commands accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Answers of 503 so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// Commands so far that nobody answered.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.shared.unknown.load(Ordering::SeqCst)
    }

    /// Lets every client finish the command it is at.
    ///
    /// # Panics
    /// When one of them got an answer that none may get.
    pub async fn stop(self) -> Vec<Sent> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.expect("every answer was one that may be"));
        }
        all
    }
}

struct Worker {
    client: Client,
    load: u32,
    name: usize,
    accounts: usize,
    manner: Manner,
    shared: Arc<Shared>,
}

impl Worker {
    async fn work(self) -> Vec<Sent> {
        let mut sent = Vec::new();
        while !self.shared.stop.load(Ordering::SeqCst) {
            let key = format!("load-{}-{}-{}", self.load, self.name, sent.len());
            let mut fate = self.send(&key, sent.len()).await;
            while fate != Fate::Accepted && self.manner == Manner::Insists {
                sleep(PAUSE).await;
                fate = self.send(&key, sent.len()).await;
            }
            sent.push(Sent { key, fate });
            if fate != Fate::Accepted || self.manner == Manner::Insists {
                sleep(PAUSE).await;
            }
        }
        sent
    }

    async fn send(&self, key: &str, at: usize) -> Fate {
        let path = format!("/v1/accounts/load-{}/points/issue", (self.name + at) % self.accounts);
        let client = self.client.keyed(key).with("content-type", "application/json");
        let body = json!({"points": 1}).to_string();
        match client.try_send(Method::POST, &path, Some(body)).await {
            Err(_) => {
                self.shared.unknown.fetch_add(1, Ordering::SeqCst);
                Fate::Unknown
            }
            Ok(answer) if answer.status == 201 => {
                self.shared.accepted.fetch_add(1, Ordering::SeqCst);
                Fate::Accepted
            }
            Ok(answer) => self.refusal(&answer),
        }
    }

    fn refusal(&self, answer: &Answer) -> Fate {
        let problem = answer.problem();
        assert_eq!(answer.status, 503, "{problem}: {}", answer.text);
        assert!(!answer.header("retry-after").is_empty(), "{problem}");
        self.shared.refused.fetch_add(1, Ordering::SeqCst);
        if problem == "503 outcome-unknown" { Fate::Unknown } else { Fate::NotDone }
    }
}
