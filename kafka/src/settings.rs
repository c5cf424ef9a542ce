//! How Kafka is reached, and what is written there.

use std::time::Duration;

use rdkafka::ClientConfig;

use crate::record::Form;

/// Properties that are ours to set: another value would break what the relay promises.
const OURS: [&str; 14] = [
    "acks",
    "bootstrap.servers",
    // Another name of `message.timeout.ms`.
    "delivery.timeout.ms",
    "enable.idempotence",
    "group.id",
    "group.protocol",
    "isolation.level",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
    "partition.assignment.strategy",
    // Another name of `linger.ms`.
    "queue.buffering.max.ms",
    "request.required.acks",
    "transaction.timeout.ms",
    "transactional.id",
];

/// A transaction that takes longer is taken back by the broker.
pub(crate) const TRANSACTION_MAX: Duration = Duration::from_secs(30);

/// How long the broker may take to acknowledge a record, where no property says otherwise.
pub(crate) const DELIVERY: (&str, &str) = ("message.timeout.ms", "20000");

/// How long a record waits for others to be sent with, where no property says otherwise, in
/// milliseconds.
pub(crate) const LINGER: (&str, &str) = ("linger.ms", "2");

/// What is known of a Kafka before it is asked anything.
#[derive(Clone)]
pub struct Settings {
    /// Brokers to begin with, `host:port`, divided by commas.
    pub bootstrap: String,
    /// First word of every topic's name. Two ledgers on one Kafka need two.
    pub prefix: String,
    /// Partitions of a topic that is made.
    pub partitions: i32,
    /// Copies of a topic that is made; -1 as the broker has it.
    pub replication: i32,
    /// How events are written.
    pub form: Form,
    /// Bytes of the largest record; a topic's `max.message.bytes` must not be smaller.
    pub record_bytes_max: usize,
    /// Further properties of the client library.
    pub properties: Vec<(String, String)>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Properties hold passwords.
        f.debug_struct("Settings")
            .field("bootstrap", &self.bootstrap)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// A property that the relay sets itself.
    #[error("{0} is not to be set: what is published once and in order depends on it")]
    Ours(String),
    /// Records are not waited for longer than their transaction may take, and not for ever; nor
    /// for less than a broker that is well may need.
    #[error("message.timeout.ms: expected a number from 1000 to {}", TRANSACTION_MAX.as_millis())]
    Delivery,
    /// No producer takes a record that is given up before it is sent.
    #[error("linger.ms: expected a number that is less than message.timeout.ms, which is {0}")]
    Linger(String),
    /// The client library does not take a property, or its value.
    #[error("{0}")]
    Refused(String),
}

impl Settings {
    /// Are the properties such as the client library takes? Nothing is connected to.
    ///
    /// # Errors
    /// [`Invalid`] names the property.
    pub fn check(&self) -> Result<(), Invalid> {
        if let Some((name, _)) = self.properties.iter().find(|(name, _)| OURS.contains(&&**name)) {
            return Err(Invalid::Ours(name.clone()));
        }
        let value = |(name, default): (&'static str, &'static str)| {
            let set = self.properties.iter().rfind(|(key, _)| key == name);
            set.map_or(default, |(_, value)| value)
        };
        let timeout = value(DELIVERY);
        let limit: u32 = timeout.parse().unwrap_or_default();
        if !(1_000..=TRANSACTION_MAX.as_millis()).contains(&limit.into()) {
            return Err(Invalid::Delivery);
        }
        // With fractions, as the client library takes it; what is no number it refuses itself.
        let linger: f64 = value(LINGER).parse().unwrap_or_default();
        if linger >= f64::from(limit) {
            return Err(Invalid::Linger(timeout.to_owned()));
        }
        let made = self.client().create_native_config();
        made.map(|_| ()).map_err(|error| Invalid::Refused(error.to_string()))
    }

    /// What all clients have in common.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", format!("{}-relay", self.prefix))
            // A broker that comes back is found again within a second.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true")
            .set("log.connection.close", "false");
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client
    }

    /// What a consumer of a group has in common with the others: records of committed transactions,
    /// and offsets that are committed only where it says so.
    pub(crate) fn member(&self, group: &str) -> ClientConfig {
        let mut client = self.client();
        if client.get("session.timeout.ms").is_none() {
            // The partitions of a process that was killed go to another after this long.
            client.set("session.timeout.ms", "6000").set("heartbeat.interval.ms", "1500");
        }
        client
            .set("group.id", group)
            .set("group.protocol", "classic")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            // How soon a topic that somebody has made is noticed.
            .set("topic.metadata.refresh.interval.ms", "5000");
        client
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn settings() -> Settings {
        Settings {
            bootstrap: "127.0.0.1:1".to_owned(),
            prefix: "accrue".to_owned(),
            partitions: 12,
            replication: -1,
            form: Form::Binary,
            record_bytes_max: 1_000_000,
            properties: Vec::new(),
        }
    }

    #[test]
    fn properties_that_are_not_there_or_are_ours_are_refused_by_name() {
        let refusal = |name: &str, value: &str| {
            let properties = vec![(name.to_owned(), value.to_owned())];
            let checked = Settings { properties, ..settings() }.check();
            checked.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(refusal("socket.timeout.ms", "5000"), "");
        assert!(refusal("socket.timeout.msec", "5000").contains("socket.timeout.msec"));
        assert!(refusal("socket.timeout.ms", "long").contains("socket.timeout.ms"));
        assert!(refusal("acks", "1").starts_with("acks is not to be set"));
        assert!(refusal("delivery.timeout.ms", "1").contains("is not to be set"));
        assert_eq!(refusal("message.timeout.ms", "30000"), "");
        for value in ["0", "999", "30001", "soon"] {
            let said = refusal("message.timeout.ms", value);
            assert_eq!(said, "message.timeout.ms: expected a number from 1000 to 30000");
        }
        assert_eq!(refusal("linger.ms", "19999.9"), "");
        for value in ["20000", "20000.5", "900000"] {
            let said = refusal("linger.ms", value);
            let less = "a number that is less than message.timeout.ms, which is 20000";
            assert_eq!(said, format!("linger.ms: expected {less}"));
        }
        assert!(refusal("linger.ms", "soon").contains("linger.ms"));
    }

    #[test]
    fn passwords_do_not_get_into_a_log() {
        let properties = vec![("sasl.password".to_owned(), "hunter2".to_owned())];
        let shown = format!("{:?}", Settings { properties, ..settings() });
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
