//! The files of a broker.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// Names the cluster, which nobody else is ever in.
const CLUSTER: &str = "AccruePrivateKafka0000";

const LOGGING: &str = "\
status=error
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
logger.begin.name=org.apache.kafka.common.utils.AppInfoParser
logger.begin.level=info
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c{1} %m%n
";

#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
}

impl Layout {
    pub(crate) fn settings(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    pub(crate) fn logging(&self) -> PathBuf {
        self.dir.join("log4j2.properties")
    }

    /// What the broker prints.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("broker.log")
    }

    /// Its process number, for whoever cleans up.
    pub(crate) fn pid(&self) -> PathBuf {
        self.dir.join("broker.pid")
    }

    /// Its topics.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) const fn cluster() -> &'static str {
        CLUSTER
    }

    /// Writes what the broker is configured by; `more` wins over ours.
    pub(crate) fn write(
        &self,
        port: u16,
        control: u16,
        more: &[(String, String)],
    ) -> Result<(), Error> {
        let data = self.data();
        let ours = [
            ("process.roles", "broker,controller".to_owned()),
            ("node.id", "1".to_owned()),
            ("controller.quorum.voters", format!("1@127.0.0.1:{control}")),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
            ("listeners", format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}")),
            ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
            (
                "listener.security.protocol.map",
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
            ),
            ("log.dirs", data.display().to_string()),
            ("auto.create.topics.enable", "false".to_owned()),
            ("default.replication.factor", "1".to_owned()),
            ("min.insync.replicas", "1".to_owned()),
            // There is one broker, and few who use it.
            ("offsets.topic.replication.factor", "1".to_owned()),
            ("offsets.topic.num.partitions", "4".to_owned()),
            ("transaction.state.log.replication.factor", "1".to_owned()),
            ("transaction.state.log.min.isr", "1".to_owned()),
            ("transaction.state.log.num.partitions", "4".to_owned()),
            ("share.coordinator.state.topic.replication.factor", "1".to_owned()),
            ("share.coordinator.state.topic.min.isr", "1".to_owned()),
            // Members of a group that is new do not wait for others.
            ("group.initial.rebalance.delay.ms", "0".to_owned()),
            ("num.network.threads", "2".to_owned()),
            ("num.io.threads", "4".to_owned()),
            ("log.cleaner.dedupe.buffer.size", "16777216".to_owned()),
        ];
        let ours = ours.iter().map(|(name, value)| format!("{name}={value}\n"));
        // The last of two lines of one name counts.
        let more = more.iter().map(|(name, value)| format!("{name}={value}\n"));
        write(&self.settings(), &ours.chain(more).collect::<String>())?;
        write(&self.logging(), LOGGING)
    }
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(Error::io("cannot write", path))
}
