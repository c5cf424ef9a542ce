//! The history of every campaign, compiled: what each was at any position of the log.
//!
//! Judged is by position and never by what was read last: events come by several partitions of
//! Kafka, each at its own pace, and a campaign's own events may come before or behind those that
//! they are to judge.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};

use accrue_campaign_engine::rules::{Outcome, Rules};
use accrue_domain::aggregate::Aggregate;
use accrue_domain::campaign::{self, Campaign, Status};
use accrue_domain::id::CampaignId;
use accrue_event_store::record::Position;
use accrue_event_store::stream::StreamKey;
use serde_json::Value;

/// The campaigns of every program.
#[derive(Debug, Default)]
pub(crate) struct Campaigns {
    by_program: BTreeMap<String, BTreeMap<CampaignId, History>>,
    /// Campaigns with a history that cannot be read to its end. They stay as they were before the
    /// event at fault, as for a follower that has set their streams aside there.
    damaged: HashSet<StreamKey>,
}

/// A campaign behind each of its events, in order.
type History = Vec<(Position, Entry)>;

/// A campaign and its rules.
#[derive(Debug, Clone, Default)]
struct Entry {
    state: Campaign,
    /// Compiled when they judge for the first time: of a long history only the last ones do.
    rules: Arc<OnceLock<Result<Rules, String>>>,
}

/// What one campaign says.
#[derive(Debug)]
pub(crate) struct Verdict<'a> {
    pub(crate) campaign: &'a CampaignId,
    pub(crate) version: u32,
    /// What its rules make of the document, or why they do not compile.
    pub(crate) outcome: Result<Outcome, String>,
}

impl Campaigns {
    /// Takes in what happened to a campaign, behind everything that was taken in before.
    pub(crate) fn evolve(
        &mut self,
        stream: &StreamKey,
        position: Position,
        event: &campaign::Event,
    ) {
        if self.damaged.contains(stream) {
            return;
        }
        // Its id was checked when the stream began.
        let Ok(id) = CampaignId::new(stream.id()) else { return };
        let program = self.by_program.entry(stream.program().to_owned()).or_default();
        let history = program.entry(id).or_default();
        let mut entry = history.last().map(|(_, entry)| entry.clone()).unwrap_or_default();
        entry.state.evolve(event);
        if has_rules(event) {
            entry.rules = Arc::default();
        }
        history.push((position, entry));
    }

    /// An event of this campaign cannot be read: nothing behind it is taken in.
    pub(crate) fn damage(&mut self, stream: StreamKey) {
        self.damaged.insert(stream);
    }

    /// What every campaign of the program that was active before a position says to a document, in
    /// the order of their ids.
    pub(crate) fn judge(
        &self,
        program: &str,
        position: Position,
        document: &Value,
    ) -> Vec<Verdict<'_>> {
        self.active(program, position)
            .map(|(campaign, entry)| Verdict {
                campaign,
                version: entry.state.version,
                outcome: entry.compiled().map(|rules| rules.evaluate(document)),
            })
            .collect()
    }

    /// Was any campaign of the program active before a position?
    pub(crate) fn any_active(&self, program: &str, position: Position) -> bool {
        self.active(program, position).next().is_some()
    }

    fn active(
        &self,
        program: &str,
        position: Position,
    ) -> impl Iterator<Item = (&CampaignId, &Entry)> {
        let campaigns = self.by_program.get(program).into_iter().flatten();
        campaigns
            .filter_map(move |(campaign, history)| {
                let before = history.partition_point(|(at, _)| *at < position);
                let (_, entry) = history.get(before.checked_sub(1)?)?;
                Some((campaign, entry))
            })
            .filter(|(_, entry)| entry.state.status == Status::Active)
    }
}

impl Entry {
    fn compiled(&self) -> Result<&Rules, String> {
        let compile = || Rules::compile(&self.state.rules).map_err(|errors| first(&errors));
        self.rules.get_or_init(compile).as_ref().map_err(Clone::clone)
    }
}

fn has_rules(event: &campaign::Event) -> bool {
    match event {
        campaign::Event::CampaignCreated { .. } | campaign::Event::CampaignRulesReplaced { .. } => {
            true
        }
        campaign::Event::CampaignActivated {}
        | campaign::Event::CampaignPaused {}
        | campaign::Event::CampaignRetired {} => false,
    }
}

fn first(errors: &[accrue_campaign_engine::compile::RuleError]) -> String {
    errors.first().map_or_else(|| "the rules do not compile".to_owned(), ToString::to_string)
}
