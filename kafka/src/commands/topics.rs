//! The topics of commands, by program, and their making.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, NewTopic, TopicReplication};
use rdkafka::error::KafkaError;

use crate::context::Quiet;
use crate::settings::Settings;
use crate::topics::create;

/// How long the broker may take to make topics.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How soon it is tried again; each try holds up the records behind it.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Where commands come from, as a pattern.
pub(super) fn pattern(prefix: &str) -> String {
    // Of what a prefix may hold, only the dot means something in a pattern.
    format!("^{}\\.commands\\..+", prefix.replace('.', "\\."))
}

/// Where a program's commands come from.
pub(super) fn commands(prefix: &str, program: &str) -> String {
    format!("{prefix}.commands.{program}")
}

/// Where a program's results go to.
pub(super) fn results(prefix: &str, program: &str) -> String {
    format!("{prefix}.results.{program}")
}

/// Where what is no command goes to.
pub(super) fn dead(prefix: &str, program: &str) -> String {
    format!("{prefix}.commands-dead.{program}")
}

/// The program of a topic of commands.
pub(super) fn program<'a>(prefix: &str, topic: &'a str) -> Option<&'a str> {
    topic.strip_prefix(prefix)?.strip_prefix(".commands.")
}

/// Makes topics that are not there yet, and remembers which are.
pub(super) struct Maker {
    admin: AdminClient<Quiet>,
    partitions: i32,
    replication: i32,
    prefix: String,
    made: HashSet<String>,
    /// When it was tried last.
    tried: HashMap<String, Instant>,
}

impl Maker {
    pub(super) fn new(settings: &Settings) -> Result<Self, KafkaError> {
        Ok(Self {
            admin: settings.client().create_with_context(Quiet)?,
            partitions: settings.partitions,
            replication: settings.replication,
            prefix: settings.prefix.clone(),
            made: HashSet::new(),
            tried: HashMap::new(),
        })
    }

    /// Makes the three topics of a program. They are kept for as long as the broker keeps any.
    pub(super) async fn make(&mut self, program: &str) -> Result<(), KafkaError> {
        let tried = self.tried.get(program);
        if self.made.contains(program) || tried.is_some_and(|at| at.elapsed() < AGAIN_AFTER) {
            return Ok(());
        }
        self.tried.insert(program.to_owned(), Instant::now());
        let names = [commands, results, dead].map(|name| name(&self.prefix, program));
        let topics = names.each_ref().map(|it| {
            let topic =
                NewTopic::new(it, self.partitions, TopicReplication::Fixed(self.replication));
            // How old a command is must not depend on its sender's clock.
            topic.set("message.timestamp.type", "LogAppendTime")
        });
        create(&self.admin, &topics, ANSWER_MAX).await?;
        self.made.insert(program.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_by_its_topic_and_the_families_are_apart() {
        assert_eq!(program("accrue", "accrue.commands.default"), Some("default"));
        assert_eq!(program("a.b", "a.b.commands.x.y"), Some("x.y"));
        for other in [results("accrue", "p"), dead("accrue", "p"), "other.commands.p".to_owned()] {
            assert_eq!(program("accrue", &other), None, "{other}");
        }
        assert_eq!(pattern("a.b"), "^a\\.b\\.commands\\..+");
    }
}
