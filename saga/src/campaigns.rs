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

/// A campaign behind each of its events.
#[derive(Debug, Default)]
struct History {
    /// Behind the last of them.
    latest: Campaign,
    /// In order, as far as they are still asked for.
    entries: Vec<(Position, Entry)>,
}

/// What a campaign was for a while.
#[derive(Debug, Clone)]
struct Entry {
    status: Status,
    version: u32,
    rules: Arc<Code>,
}

/// Rules, compiled when they judge for the first time: of a long history only the last ones do.
#[derive(Debug, Default)]
struct Code {
    source: Value,
    compiled: OnceLock<Result<Rules, String>>,
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
        history.latest.evolve(event);
        let rules = match history.entries.last() {
            Some((_, before)) if !has_rules(event) => Arc::clone(&before.rules),
            // Here they are kept, and once.
            _ => Arc::new(Code { source: history.latest.rules.take(), ..Code::default() }),
        };
        let (status, version) = (history.latest.status, history.latest.version);
        history.entries.push((position, Entry { status, version, rules }));
    }

    /// Forgets what is of no use to whoever judges at this position or behind it.
    pub(crate) fn forget_before(&mut self, position: Position) {
        for history in self.by_program.values_mut().flat_map(BTreeMap::values_mut) {
            let before = history.entries.partition_point(|(at, _)| *at < position);
            history.entries.drain(..before.saturating_sub(1));
        }
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
                version: entry.version,
                outcome: entry.rules.compiled().map(|rules| rules.evaluate(document)),
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
                let before = history.entries.partition_point(|(at, _)| *at < position);
                let (_, entry) = history.entries.get(before.checked_sub(1)?)?;
                Some((campaign, entry))
            })
            .filter(|(_, entry)| entry.status == Status::Active)
    }
}

impl Code {
    fn compiled(&self) -> Result<&Rules, String> {
        let compile = || Rules::compile(&self.source).map_err(|errors| first(&errors));
        self.compiled.get_or_init(compile).as_ref().map_err(Clone::clone)
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

#[cfg(test)]
mod tests {
    use accrue_domain::aggregate::Kind;
    use accrue_domain::id::ProgramId;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_history_is_kept_as_far_as_it_is_asked_for() {
        let stream = StreamKey::new(Kind::Campaign, &ProgramId::new("p").unwrap(), "c");
        let mut campaigns = Campaigns::default();
        let rules = |version| json!({"rules": [version]});
        let name = "c".to_owned();
        let created = campaign::Event::CampaignCreated { name, version: 1, rules: rules(1) };
        campaigns.evolve(&stream, 1, &created);
        campaigns.evolve(&stream, 2, &campaign::Event::CampaignActivated {});
        for version in 2..100 {
            let replaced =
                campaign::Event::CampaignRulesReplaced { version, rules: rules(version) };
            campaigns.evolve(&stream, i64::from(version) * 10, &replaced);
        }
        let version_at = |campaigns: &Campaigns, position| {
            campaigns.active("p", position).map(|(_, it)| it.version).collect::<Vec<_>>()
        };
        let asked: Vec<_> = (3..1_100).map(|at| (at, version_at(&campaigns, at))).collect();
        for floor in [2, 3, 20, 21, 555, 2_000] {
            campaigns.forget_before(floor);
            for (at, expected) in asked.iter().filter(|(at, _)| *at >= floor) {
                assert_eq!(version_at(&campaigns, *at), *expected, "{at} behind {floor}");
            }
        }
        let history = &campaigns.by_program["p"][&CampaignId::new("c").unwrap()];
        assert_eq!(history.entries.len(), 1);
        assert_eq!(history.entries[0].1.rules.source, rules(99));
    }
}
