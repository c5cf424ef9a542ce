use std::path::Path;

use super::layers::Origin;
use super::*;

fn layers(flags: &[(&'static str, &str)], environment: &[(&str, &str)], file: &str) -> Layers {
    merged(flags, environment, file).unwrap()
}

fn merged(
    flags: &[(&'static str, &str)],
    environment: &[(&str, &str)],
    file: &str,
) -> Result<Layers> {
    let flags: Vec<_> = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let variable = |name: &str| {
        environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    Layers::merge(&flags, variable, Some((Path::new("accrue.toml"), file)))
}

fn refusal(flags: &[(&'static str, &str)]) -> String {
    Config::read(&layers(flags, &[], "")).unwrap_err().to_string()
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let flags = [("port", "1")];
    let environment = [("ACCRUE_PORT", "2"), ("ACCRUE_QUEUE_COMMANDS_MAX", "3")];
    let it =
        layers(&flags, &environment, "port = 4\nqueue_commands_max = 5\npool_connections_max = 6");
    let seen = ["port", "queue_commands_max", "pool_connections_max", "idempotency_days"]
        .map(|key| (it.text(key), it.origin(key).to_string()));
    let expected = [
        ("1", "flag --port"),
        ("3", "environment ACCRUE_QUEUE_COMMANDS_MAX"),
        ("6", "file accrue.toml"),
        ("30", "default"),
    ];
    assert_eq!(seen, expected.map(|(value, origin)| (value.to_owned(), origin.to_owned())));
}

#[test]
fn an_empty_variable_is_not_set() {
    let it = layers(&[], &[("ACCRUE_DATABASE_URL", "")], "database_url = 'postgres://a@b/c'");
    assert_eq!(it.text("database_url"), "postgres://a@b/c");
}

#[test]
fn a_default_of_a_command_gives_way_to_everything_else() {
    let mut it = layers(&[], &[("ACCRUE_PORT", "9")], "");
    it.default_to("port", "7");
    it.default_to("log_filter", "warn");
    assert_eq!((it.text("port").as_str(), it.text("log_filter").as_str()), ("9", "warn"));
    assert_eq!(*it.origin("log_filter"), Origin::Default);
}

#[test]
fn unknown_keys_of_a_file_are_all_named() {
    let error = merged(&[], &[], "prot = 1\nport = 2\ndatadir = 'x'").unwrap_err().to_string();
    assert!(error.starts_with("accrue.toml: unknown settings: datadir, prot (known: listen,"));
    let error = merged(&[], &[], "port = 1\nlisten = [1]").unwrap_err().to_string();
    assert_eq!(error, "accrue.toml: listen: expected a text or a number, got array");
    let error = merged(&[], &[], "port = 1\nlisten = ").unwrap_err().to_string();
    assert!(error.starts_with("accrue.toml, line 2: "), "{error}");
}

#[test]
fn the_defaults_are_valid() {
    let config = Config::read(&layers(&[], &[], "")).unwrap();
    assert_eq!((config.listen.to_string().as_str(), config.port), ("127.0.0.1", 8080));
    assert!(matches!(config.database, Place::Private { .. }));
}

#[test]
fn only_loopback_addresses_are_listened_on() {
    for address in ["127.0.0.1", "127.8.9.1", "::1", "localhost"] {
        assert!(Config::read(&layers(&[("listen", address)], &[], "")).is_ok(), "{address}");
    }
    for address in ["0.0.0.0", "192.168.1.7", "::", "10.0.0.1"] {
        let error = refusal(&[("listen", address)]);
        assert!(error.contains("there is no authentication yet"), "{address}: {error}");
    }
    assert!(
        refusal(&[("listen", "example.com")]).starts_with("listen: expected a loopback address")
    );
}

#[test]
fn a_wrong_value_is_named_with_its_origin() {
    assert_eq!(
        refusal(&[("port", "65536")]),
        "port: expected a port from 0 to 65535 (0 picks a free one), got \"65536\" (flag --port)"
    );
    assert_eq!(
        refusal(&[("pool_connections_max", "1")]),
        "pool_connections_max: expected a whole number from 2 to 1000, got \"1\" \
         (flag --pool-connections-max)"
    );
    assert!(Config::read(&layers(&[("pool_connections_max", "2")], &[], "")).is_ok());
    assert!(refusal(&[("log_format", "xml")]).starts_with("log_format: expected text or json"));
    assert!(refusal(&[("log_filter", "accrue=loud")]).starts_with("log_filter: expected a filter"));
    let error = refusal(&[("database_url", "mysql://u:secret@h/d")]);
    assert!(error.starts_with("database_url: expected a URL") && !error.contains("secret"));
}

#[test]
fn kafka_is_named_and_its_properties_are_passed_on() {
    let file = "kafka_bootstrap = 'a:9092, b:9092'\n[kafka.properties]\n\
                'socket.timeout.ms' = 5000\n'client.rack' = 'r1'";
    let it = layers(&[], &[], file);
    let kafka = Config::read(&it).unwrap().kafka.unwrap();
    assert_eq!((kafka.bootstrap.as_str(), kafka.prefix.as_str()), ("a:9092, b:9092", "accrue"));
    let properties = [("client.rack", "r1"), ("socket.timeout.ms", "5000")];
    assert_eq!(kafka.properties, properties.map(|(k, v)| (k.to_owned(), v.to_owned())));
    let shown = format!("{:?}", it.shown());
    assert!(shown.contains("kafka.properties.client.rack") && !shown.contains("r1"), "{shown}");
    assert!(Config::read(&layers(&[], &[], "")).unwrap().kafka.is_none());
}

#[test]
fn what_is_wrong_with_kafka_is_named() {
    let refused = |file: &str| {
        let read = merged(&[], &[], file).and_then(|it| Config::read(&it).map(|_| ()));
        read.unwrap_err().to_string()
    };
    assert!(refused("kafka_bootstrap = 'localhost'").starts_with("kafka_bootstrap: expected host"));
    assert!(refused("kafka_topic_prefix = 'a/b'").starts_with("kafka_topic_prefix: expected"));
    assert!(refused("kafka_partitions = 0").starts_with("kafka_partitions: expected a whole"));
    assert!(refused("kafka_replication = 0").starts_with("kafka_replication: expected -1"));
    assert!(refused("kafka_form = 'avro'").starts_with("kafka_form: expected binary or"));
    assert!(refused("kafka = 1").contains("kafka: expected a table"));
    assert!(refused("[kafka.propertys]").contains("unknown settings: kafka.propertys"));
    assert!(refused("[kafka.properties]\n'no.such' = 1").contains("no.such"));
    assert!(refused("[kafka.properties]\nacks = 1").contains("acks is not to be set"));
    assert!(refused("[kafka.properties]\na = [1]").contains("kafka.properties.a: expected"));
}

#[test]
fn passwords_are_masked_wherever_they_stand() {
    let cases = [
        ("postgres://u:p@h:5432/d", "postgres://u:***@h:5432/d"),
        ("postgres://u:p@ss@h/d", "postgres://u:***@h/d"),
        ("postgres://u@h/d", "postgres://u@h/d"),
        ("postgres://h/d", "postgres://h/d"),
        ("postgres://h/d?user=u&password=p", "postgres://h/d?user=u&password=***"),
        ("postgres://u:p@h?sslmode=disable", "postgres://u:***@h?sslmode=disable"),
    ];
    for (url, expected) in cases {
        assert_eq!(masked(url), expected);
    }
}

#[test]
fn roles_are_a_list_of_known_words() {
    let of = |roles| Config::read(&layers(&[("roles", roles)], &[], "")).unwrap().roles;
    let all = Config::read(&layers(&[], &[], "")).unwrap().roles;
    assert_eq!(all, of("timers,relay, campaigns,saga,projections,api"));
    assert_eq!(of("saga"), Roles { saga: true, ..Roles::default() });
    for roles in [" ", "api,", "api;saga", "sagas", "API"] {
        assert!(refusal(&[("roles", roles)]).starts_with("roles: expected roles with commas"));
    }
}

#[test]
fn a_network_is_served_when_that_is_said() {
    let network = [("listen", "0.0.0.0"), ("allow_network", "true")];
    let config = Config::read(&layers(&network, &[], "")).unwrap();
    assert!(config.allow_network && config.listen.is_unspecified());
    let file = layers(&[], &[], "allow_network = true\nlisten = '::'");
    assert!(Config::read(&file).unwrap().allow_network);
    assert!(refusal(&[("allow_network", "yes")]).starts_with("allow_network: expected true or"));
}

#[test]
fn a_replica_is_read_from_and_its_password_is_nobody_s() {
    let url = "postgres://u:secret@one,two/d";
    let config = Config::read(&layers(&[("read_database_url", url)], &[], "")).unwrap();
    let replica = config.read_database.unwrap();
    assert_eq!(replica.name, "postgres://u:***@one,two/d");
    let error = refusal(&[("read_database_url", "postgres://u:secret@h/d?target_session_attrs=x")]);
    assert!(error.contains("got x") && !error.contains("secret"), "{error}");
    assert!(refusal(&[("database_url", "postgres://a,b/d?host=/x")]).contains("not in both"));
}
