//! The names of topics, and their making.

use std::time::Duration;

use accrue_event_store::placement::program_in_topic;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::settings::Settings;

/// Longest name that Kafka takes.
const NAME_BYTES_MAX: usize = 249;

/// How long the broker may take to make a topic.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The topic of a program's events: `accrue.events.default`.
#[must_use]
pub fn events(prefix: &str, program: &str) -> String {
    let mut name = format!("{prefix}.events.{}", program_in_topic(program));
    name.truncate(NAME_BYTES_MAX);
    name
}

/// The program of a topic of events, as the topic's name has it; none of another topic.
#[must_use]
pub(crate) fn program_of<'a>(prefix: &str, topic: &'a str) -> Option<&'a str> {
    topic.strip_prefix(prefix)?.strip_prefix(".events.")
}

/// Is that the name of a topic that the servers of this prefix write to or read, of whichever program?
#[must_use]
pub fn is_live(prefix: &str, topic: &str) -> bool {
    let family = |it: &str| ["events.", "commands.", "results.", "commands-dead."].contains(&it);
    let rest = topic.strip_prefix(prefix).and_then(|it| it.strip_prefix('.'));
    rest.and_then(|it| it.split_inclusive('.').next()).is_some_and(family)
}

/// Can this be (the beginning of) a topic's name?
#[must_use]
pub fn is_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty() && text.len() <= 100 && text != "." && text != ".." && text.chars().all(legal)
}

/// Makes a topic whose records are kept for ever; that it is there already is as good.
///
/// # Errors
/// As Kafka gives them.
pub async fn make<C: ClientContext>(
    admin: &AdminClient<C>,
    settings: &Settings,
    name: &str,
) -> Result<(), KafkaError> {
    let topic =
        NewTopic::new(name, settings.partitions, TopicReplication::Fixed(settings.replication))
            // The log is kept for ever, and who follows it here is to find all of it.
            .set("retention.ms", "-1")
            .set("retention.bytes", "-1")
            .set("cleanup.policy", "delete");
    create(admin, &[topic], ANSWER_MAX).await
}

/// Makes topics, within the time that the broker may take; those that are there already are as
/// good.
///
/// # Errors
/// As Kafka gives them.
pub(crate) async fn create<C: ClientContext>(
    admin: &AdminClient<C>,
    topics: &[NewTopic<'_>],
    answer_max: Duration,
) -> Result<(), KafkaError> {
    let options =
        AdminOptions::new().request_timeout(Some(answer_max)).operation_timeout(Some(answer_max));
    for made in admin.create_topics(topics, &options).await? {
        match made {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(KafkaError::AdminOp(code)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_a_topic_of_its_own() {
        assert_eq!(events("accrue", "default"), "accrue.events.default");
        assert_eq!(events("a", "brand_x-1"), "a.events.brand_x-1");
        assert_eq!(events("a", "not/ours"), "a.events.not_ours");
        assert_eq!(events("a", &"x".repeat(400)).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn topics_of_every_program_and_family_are_live() {
        for live in ["events.default", "events.x.y", "commands.p", "results.p", "commands-dead.p"] {
            assert!(is_live("a.b", &format!("a.b.{live}")), "{live}");
            assert!(!is_live("a", &format!("a.b.{live}")), "{live}");
        }
        for other in ["a.b.again.events.p", "a.b.eventsx.p", "a.b", "again", "a.bevents.p"] {
            assert!(!is_live("a.b", other), "{other}");
        }
    }

    #[test]
    fn a_prefix_is_what_kafka_takes_in_a_name() {
        for good in ["accrue", "accrue.eu", "a-b_c.1"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(101)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
