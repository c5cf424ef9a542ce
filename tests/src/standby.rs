//! A primary and a standby that streams from it: real Postgres servers, that are killed, promoted
//! and held back as a test needs.

use accrue_private_postgres::cluster::Cluster;
use accrue_private_postgres::options::Options;

use crate::database::Database;
use crate::eventually::eventually;
use crate::proxy::Proxy;

/// What the primary knows the standby by.
const NAME: &str = "standby";

/// The two servers.
#[derive(Debug)]
pub struct Pair {
    /// The one that takes writes at first.
    pub primary: Cluster,
    /// The one that follows it.
    pub standby: Cluster,
    /// A database on the primary.
    pub database: Database,
    /// The same on the standby.
    pub copy: Database,
}

impl Pair {
    /// Two servers with one empty database.
    ///
    /// # Panics
    /// When they do not come up.
    pub async fn start() -> Self {
        let primary = Cluster::scratch(Options::small()).await.expect("a primary");
        let database = Database::create_in(&primary).await;
        let standby = primary.scratch_standby(NAME, Options::small()).await.expect("a standby");
        let name = database.options().get_database().map(str::to_owned);
        let copy = Database { url: standby.url_of(&name.expect("a database has a name")) };
        Self { primary, standby, database, copy }
    }

    /// The URL that names both, the primary first.
    #[must_use]
    pub fn both(&self) -> String {
        let folder = |database: &Database| {
            let folder = database.url.split("host=").nth(1).and_then(|it| it.split('&').next());
            folder.expect("a cluster of ours has a socket").to_owned()
        };
        let (one, other) = (folder(&self.database), folder(&self.copy));
        self.database.url.replace(&one, &format!("{one},{other}"))
    }

    /// The same through proxies, the primary's first.
    ///
    /// # Panics
    /// When there is no port for them.
    pub async fn proxied(&self) -> (String, [Proxy; 2]) {
        let one = Proxy::start(self.database.socket()).await;
        let other = Proxy::start(self.copy.socket()).await;
        let options = self.database.options();
        let (user, name) = (options.get_username(), options.get_database().unwrap_or("postgres"));
        let hosts = format!("{},{}", one.address, other.address);
        (format!("postgres://{user}@{hosts}/{name}?sslmode=disable"), [one, other])
    }

    /// From here on the primary tells nobody of a commit before the standby has it.
    pub async fn synchronous(&self) {
        self.database.run(&format!("ALTER SYSTEM SET synchronous_standby_names = '{NAME}'")).await;
        self.database.run("SELECT pg_reload_conf()").await;
        let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        eventually("the standby is synchronous", async || {
            (self.database.number(sql).await == 1).then_some(())
        })
        .await;
    }

    /// The standby gets nothing any more of what the primary writes. Returns how it had reached it.
    pub async fn part(&self) -> String {
        let before = self.copy.text("SHOW primary_conninfo").await;
        self.copy.run("ALTER SYSTEM SET primary_conninfo = ''").await;
        self.copy.run("SELECT pg_reload_conf()").await;
        let sql = "SELECT count(*) FROM pg_stat_replication";
        eventually("the standby has lost the primary", async || {
            (self.database.number(sql).await == 0).then_some(())
        })
        .await;
        before
    }

    /// The standby follows its primary again; `parted` is what [`Pair::part`] gave.
    pub async fn rejoin(&self, parted: &str) {
        let parted = parted.replace('\'', "''");
        self.copy.run(&format!("ALTER SYSTEM SET primary_conninfo = '{parted}'")).await;
        self.copy.run("SELECT pg_reload_conf()").await;
    }

    /// Makes the standby the primary.
    pub async fn promote(&self) {
        assert_eq!(self.copy.text("SELECT pg_promote()::text").await, "true");
    }
}
