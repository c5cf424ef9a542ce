//! What may differ from one private cluster to another. Durability is on in every preset.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of `postgres`, `initdb`, `pg_ctl` and `createdb`; searched for when absent.
    pub bin_dir: Option<PathBuf>,
    /// Where a new data folder is made, with a link to it in the place that was named, when we are root
    /// and the cluster's user could not get there. `None`: such a place is refused.
    pub elsewhere: Option<PathBuf>,
    pub shared_buffers_mb: u32,
    pub max_wal_size_mb: u32,
    pub connections_max: u16,
    /// Bound of a start, crash recovery included.
    pub start_wait_max: Duration,
    /// `false` only where losing the data with the machine is fine.
    pub fsync: bool,
    /// Further settings, by their names in `postgresql.conf`; they win over ours.
    pub settings: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bin_dir: None,
            elsewhere: None,
            shared_buffers_mb: 256,
            max_wal_size_mb: 4096,
            connections_max: 200,
            start_wait_max: Duration::from_secs(300),
            fsync: true,
            settings: Vec::new(),
        }
    }
}

impl Options {
    /// Little memory and little disk: for tests. Still durable.
    pub fn small() -> Self {
        Self {
            shared_buffers_mb: 32,
            max_wal_size_mb: 256,
            start_wait_max: Duration::from_secs(60),
            ..Self::default()
        }
    }

    /// The settings in the order in which the postmaster gets them: a later one wins.
    pub(crate) fn settings(&self, socket_dir: &str, wal_compression: &str) -> Vec<String> {
        let on_off = |on| if on { "on" } else { "off" };
        let ours = [
            ("listen_addresses", String::new()),
            ("port", crate::layout::PORT.to_string()),
            ("unix_socket_directories", quoted_in_list(socket_dir)),
            ("unix_socket_permissions", "0700".into()),
            ("max_connections", self.connections_max.to_string()),
            ("shared_buffers", format!("{}MB", self.shared_buffers_mb)),
            ("max_wal_size", format!("{}MB", self.max_wal_size_mb)),
            // Files of the write-ahead log are used again and not made anew: a new one is filled
            // with zeros and synced first, while every commit waits.
            ("min_wal_size", format!("{}MB", (self.max_wal_size_mb / 4).max(80))),
            ("checkpoint_timeout", "15min".into()),
            ("wal_compression", wal_compression.into()),
            ("synchronous_commit", "on".into()),
            ("full_page_writes", "on".into()),
            ("fsync", on_off(self.fsync).into()),
            ("autovacuum", "on".into()),
            ("jit", "off".into()),
            ("ssl", "off".into()),
            ("logging_collector", "off".into()),
            ("log_destination", "stderr".into()),
            ("log_line_prefix", "%m [%p] ".into()),
            // Else a server whose messages are translated hides its FATAL lines from us.
            ("lc_messages", "C".into()),
        ];
        let ours = ours.into_iter().map(|(name, value)| format!("{name}={value}"));
        ours.chain(self.settings.iter().map(|(name, value)| format!("{name}={value}"))).collect()
    }
}

/// The setting is a comma-separated list; quotes keep a comma or a blank in the path as it is.
fn quoted_in_list(path: &str) -> String {
    format!("\"{}\"", path.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_durable_and_unreachable_from_the_network() {
        for options in [Options::default(), Options::small()] {
            let settings = options.settings("/run/x", "on");
            for needed in
                ["fsync=on", "full_page_writes=on", "synchronous_commit=on", "listen_addresses="]
            {
                assert!(settings.iter().any(|s| s == needed), "{needed} missing in {settings:?}");
            }
        }
    }

    #[test]
    fn a_callers_setting_comes_last_so_that_it_wins() {
        let options = Options { settings: vec![("jit".into(), "on".into())], ..Options::default() };
        assert_eq!(options.settings("/run/x", "on").last().map(String::as_str), Some("jit=on"));
    }

    #[test]
    fn a_comma_or_quote_in_the_socket_folder_stays_one_folder() {
        assert_eq!(quoted_in_list("/a,b\"c"), "\"/a,b\"\"c\"");
    }
}
