//! The Kafka part of the configuration.

use accrue_kafka::settings::Settings;
use accrue_kafka::topics;
use anyhow::{Result, anyhow, ensure};

use super::{Layers, within};

/// The Kafka to publish to; none where none is named.
pub(crate) fn read(layers: &Layers) -> Result<Option<Settings>> {
    let bootstrap = layers.text("kafka_bootstrap");
    let prefix = layers.text("kafka_topic_prefix");
    let expected = "letters, digits and . _ - (at most 100)";
    ensure!(topics::is_name(&prefix), layers.wrong("kafka_topic_prefix", expected));
    let settings = Settings {
        prefix,
        partitions: within(layers, "kafka_partitions", 1, 10_000)?,
        replication: within(layers, "kafka_replication", -1, 100)?,
        form: layers.parse("kafka_form", "binary or structured")?,
        record_bytes_max: within(layers, "kafka_record_bytes_max", 1_000, 1_000_000_000)?,
        properties: layers.kafka_properties(),
        bootstrap,
    };
    let replication = settings.replication;
    ensure!(replication != 0, layers.wrong("kafka_replication", "-1, or a number from 1 to 100"));
    settings.check().map_err(|error| anyhow!("kafka.properties: {error}"))?;
    if settings.bootstrap.is_empty() {
        return Ok(None);
    }
    let named = settings.bootstrap.split(',').all(|it| is_address(it.trim()));
    let expected = "host:port, or several of them divided by commas";
    ensure!(named, layers.wrong("kafka_bootstrap", expected));
    Ok(Some(settings))
}

fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
