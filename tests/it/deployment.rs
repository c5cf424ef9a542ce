//! What deploys the server: the Compose file is what the Compose Specification says, the Kubernetes
//! manifests are what their types say, and all that they name is there. Both are rendered here, as
//! far as ours go; where `kubectl` or `docker compose` is installed, it has the last word.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use accrue_tests::database::Database;
use accrue_tests::program::{self, workspace};
use accrue_tests::schema::objections;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Container, EnvVar, PodSpec, PodTemplateSpec, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::{Value, json};

/// What a whole server does, a role a service.
const ROLES: [&str; 6] = ["api", "projections", "saga", "campaigns", "relay", "timers"];

const MANIFESTS: &str = "deploy/kubernetes";

/// Those that follow the log, or are fed by Kafka.
const FOLLOWERS: [&str; 3] = ["projections", "saga", "campaigns"];

/// Every path of a value, such as `.services.api.build`.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, it)| (name.clone(), it)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(at, it)| (at.to_string(), it)).collect()
        }
        _ => return,
    };
    for (name, value) in inner {
        let path = format!("{at}.{name}");
        paths(value, &path, found);
        found.push(path);
    }
}

/// The value as its type has it; nothing of it may be unknown to the type.
fn typed<T: DeserializeOwned + Serialize>(plain: &Value) -> T {
    let typed: T = serde_json::from_value(plain.clone()).unwrap_or_else(|e| panic!("{e}: {plain}"));
    let again = serde_json::to_value(&typed).expect("it can be written");
    let (mut before, mut after) = (Vec::new(), Vec::new());
    paths(plain, "", &mut before);
    paths(&again, "", &mut after);
    for path in before {
        assert!(after.contains(&path), "{path} is nothing that this has: {plain}");
    }
    typed
}

fn file(path: &str) -> String {
    let path = workspace().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn is_installed(words: &[&str]) -> bool {
    let version = Command::new(words[0]).args(&words[1..]).output();
    version.is_ok_and(|it| it.status.success())
}

/// Variables that somebody sets, by name.
type Set<'a> = [(&'a str, &'a str)];

/// Somebody who sets every variable of the Compose file.
const EVERYTHING: [(&str, &str); 6] = [
    ("ACCRUE_FEED", "kafka"),
    ("ACCRUE_PAYMENTS", "simulator"),
    ("ACCRUE_PAYMENTS_KEY", "a key"),
    ("ACCRUE_PAYMENTS_WEBHOOK_SECRET", "a secret"),
    ("ACCRUE_PORTS", "8080-8089"),
    ("ACCRUE_POSTGRES_PASSWORD", "secret"),
];

/// The text with `${NAME:-default}` filled in, and `$$` as the dollar that it stands for. Compose
/// knows more forms; the file has no other.
fn interpolated(text: &str, set: &Set<'_>) -> String {
    let Some((before, after)) = text.split_once('$') else { return text.to_owned() };
    if let Some(rest) = after.strip_prefix('$') {
        return format!("{before}${}", interpolated(rest, set));
    }
    let inside = after.strip_prefix('{').and_then(|it| it.split_once('}'));
    let parts = inside.and_then(|(inside, rest)| Some((inside.split_once(":-")?, rest)));
    let ((name, default), rest) = parts.unwrap_or_else(|| panic!("of an unknown form: {text}"));
    let plain = name.bytes().all(|it| it.is_ascii_uppercase() || it == b'_');
    assert!(plain && !default.contains('$'), "of an unknown form: {text}");
    // An empty value is as good as none.
    let value = set.iter().find(|(it, value)| *it == name && !value.is_empty());
    let value = value.map_or(default, |(_, value)| value);
    format!("{before}{value}{}", interpolated(rest, set))
}

fn interpolate(value: &mut Value, set: &Set<'_>) {
    match value {
        Value::String(text) => *text = interpolated(text, set),
        Value::Array(items) => items.iter_mut().for_each(|it| interpolate(it, set)),
        Value::Object(fields) => fields.values_mut().for_each(|it| interpolate(it, set)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The Compose file, for somebody who sets these variables.
fn compose(set: &Set<'_>) -> Value {
    let mut plain = serde_norway::from_str(&file("docker-compose.yml")).expect("YAML");
    interpolate(&mut plain, set);
    plain
}

#[test]
#[should_panic(expected = "of an unknown form")]
fn a_variable_of_another_form_is_not_passed_over() {
    interpolated("127.0.0.1:${ACCRUE_PORTS:?which}:8080", &[]);
}

#[test]
fn the_compose_file_is_what_the_compose_specification_says_whatever_is_set() {
    let text = file("docker-compose.yml");
    let variables = text.split("${").skip(1).filter_map(|it| it.split_once(":-"));
    let variables: BTreeSet<_> = variables.map(|(name, _)| name).collect();
    assert_eq!(variables, BTreeSet::from(EVERYTHING.map(|(name, _)| name)));

    let schema = file("tests/schemas/compose-spec.json");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    for set in [&[][..], &EVERYTHING[..]] {
        assert_eq!(objections(&schema, &compose(set)), [""; 0], "{set:?}");
    }
    for (at, name, value) in [
        ("", "volume", json!({})),
        ("/services/postgres", "imagee", json!("postgres:15")),
        ("/services/api/healthcheck", "retries", json!([3])),
        ("/services/api/depends_on/migrate", "condition", json!("service_done")),
    ] {
        let mut spoilt = compose(&[]);
        spoilt.pointer_mut(at).expect("it is there")[name] = value;
        assert_ne!(objections(&schema, &spoilt), [""; 0], "{at}/{name} passes");
    }
}

#[test]
fn the_compose_file_is_one_and_all_that_it_names_is_there() {
    let plain = compose(&[]);
    let typed = serde_json::from_value::<docker_compose_types::Compose>(plain.clone());
    let typed = typed.expect("typed");
    // A key that the types do not know is lost on the way.
    let again = serde_json::to_value(&typed).expect("it can be written");
    let names = |value: &Value| {
        let mut found = Vec::new();
        paths(value, "", &mut found);
        // A list of words may be written as one text, and the other way round.
        found.retain(|path| path.rsplit('.').next().is_none_or(|it| it.parse::<u8>().is_err()));
        found
    };
    let after = names(&again);
    for path in names(&plain) {
        assert!(after.contains(&path), "{path} is nothing that a Compose file has");
    }
    let services = plain["services"].as_object().expect("services");
    assert!(ROLES.iter().all(|role| services.contains_key(*role)), "{services:?}");
    for (name, service) in services {
        assert!(service["image"].is_string() ^ (service["build"] == "."), "{service}");
        let image = service["image"].as_str();
        assert!(image.is_none_or(|it| it.contains(':')), "{name}: {image:?}, of any version");
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let other = services.get(other).unwrap_or_else(|| panic!("{name} waits for {other}"));
            match how["condition"].as_str() {
                Some("service_healthy") => assert!(other["healthcheck"].is_object(), "{name}"),
                Some("service_completed_successfully") => assert!(other["restart"].is_null()),
                condition => panic!("{name}: {condition:?}"),
            }
        }
        for mount in list(&service["volumes"]) {
            let volume = mount.split(':').next().expect("a mount");
            assert!(plain["volumes"].get(volume).is_some(), "{volume}");
        }
        for network in list(&service["networks"]) {
            assert!(plain["networks"].get(&network).is_some(), "{network}");
        }
        assert!(service["container_name"].is_null(), "{name} could not be scaled");
    }
    for role in ROLES {
        let service = &services[role];
        assert_eq!(list(&service["command"]), ["serve", &format!("--roles={role}")]);
        assert!(service["healthcheck"].is_object() && service["restart"].is_string(), "{role}");
        let first = &service["depends_on"]["migrate"]["condition"];
        assert_eq!(first, "service_completed_successfully", "{role}");
        assert_eq!(service["environment"]["ACCRUE_ALLOW_NETWORK"], "true", "{role}");
        // The API does its work without Kafka, and takes commands from there once it has come.
        let needs_kafka = service["environment"]["ACCRUE_KAFKA_BOOTSTRAP"].is_string();
        let kafka = service["depends_on"]["kafka"]["condition"].as_str();
        assert_eq!(kafka == Some("service_healthy"), needs_kafka && role != "api", "{role}");
        // What the network of others could reach, only on this machine, and with room for many.
        for port in list(&service["ports"]) {
            assert_eq!((role, &*port), ("api", "127.0.0.1:8080:8080"));
        }
    }
    let many = compose(&[("ACCRUE_PORTS", "8080-8089")]);
    assert_eq!(list(&many["services"]["api"]["ports"]), ["127.0.0.1:8080-8089:8080"]);
    assert!(services["postgres"]["ports"].is_null() && services["kafka"]["ports"].is_null());
    assert!(workspace().join("Dockerfile").exists());

    let ways = [vec!["docker-compose"], vec!["docker", "compose"]];
    let with = |words: &[&'static str], more| [words, &[more]].concat();
    let installed = ways.into_iter().find(|words| is_installed(&with(words, "version")));
    let Some(words) = installed else { return };
    let mut config = Command::new(words[0]);
    config.args(&words[1..]).args(["config", "--quiet"]).current_dir(workspace());
    let output = config.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_program_takes_what_the_compose_file_tells_it() {
    for (set, password, feed) in [(&[][..], "accrue", "log"), (&EVERYTHING, "secret", "kafka")] {
        let services = &compose(set)["services"];
        for role in ROLES {
            let service = &services[role];
            let environment: Variables =
                serde_json::from_value(service["environment"].clone()).expect("texts by name");
            settings_are_taken(&list(&service["command"])[1..], &environment);
            let url = format!("postgres://accrue:{password}@postgres:5432/accrue");
            assert_eq!(environment["ACCRUE_DATABASE_URL"], url);
            let fed_by = environment.get("ACCRUE_FEED").map(String::as_str);
            assert_eq!(fed_by, FOLLOWERS.contains(&role).then_some(feed), "{role}");
        }
        assert_eq!(services["postgres"]["environment"]["POSTGRES_PASSWORD"], password);
    }
}

/// Every document of a YAML text.
fn documents(text: &str) -> Vec<Value> {
    let documents = serde_norway::Deserializer::from_str(text);
    documents.map(|it| Value::deserialize(it).expect("YAML")).collect()
}

fn kind(document: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&document["kind"]), text(&document["metadata"]["name"]))
}

fn of<T: DeserializeOwned + Serialize>(all: &[Value], kind: &str) -> Vec<T> {
    all.iter().filter(|it| it["kind"] == kind).map(typed).collect()
}

type Labels = BTreeMap<String, String>;

fn selects(selector: Option<&Labels>, labels: &Labels) -> bool {
    let selector = selector.expect("a selector");
    !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

fn labels(template: &PodTemplateSpec) -> Labels {
    template.metadata.as_ref().and_then(|it| it.labels.clone()).expect("labels")
}

/// What `kubectl kustomize` makes of the folder, as far as ours goes: tags of images, and no more.
fn kustomized(folder: &str) -> Vec<Value> {
    let kustomization = &documents(&file(&format!("{folder}/kustomization.yaml")))[0];
    let known = |value: &Value, fields: &[&str]| {
        let mut names = value.as_object().expect("fields").keys();
        assert!(names.all(|it| fields.contains(&it.as_str())), "nobody here renders {value}");
    };
    known(kustomization, &["apiVersion", "kind", "resources", "images"]);
    let mut all = Vec::new();
    for name in list(&kustomization["resources"]) {
        all.extend(documents(&file(&format!("{folder}/{name}"))));
    }
    for image in kustomization["images"].as_array().into_iter().flatten() {
        known(image, &["name", "newTag"]);
        let (name, tag) = (image["name"].as_str(), image["newTag"].as_str());
        let (name, tag) = name.zip(tag).expect("a name and a tag, both texts");
        let pods = all.iter_mut().filter_map(|it| it.pointer_mut("/spec/template/spec/containers"));
        let containers = pods.filter_map(Value::as_array_mut).flatten();
        for container in containers.filter(|it| it["image"] == name) {
            container["image"] = format!("{name}:{tag}").into();
        }
    }
    all
}

/// Whether the kustomization tells whoever runs it to make this, in a line of `#   name  keys`.
fn is_told_of(name: &str, key: &str) -> bool {
    let text = file(&format!("{MANIFESTS}/kustomization.yaml"));
    let keys = text.lines().find_map(|it| it.strip_prefix(&format!("#   {name} ")));
    keys.is_some_and(|it| it.split([' ', ',', ':', '(']).any(|it| it == key))
}

/// One container, which may do as little as possible and is told no secret.
fn container(pod: &PodSpec, accounts: &[ServiceAccount]) -> Container {
    let account = pod.service_account_name.as_ref();
    assert!(accounts.iter().any(|it| it.metadata.name.as_ref() == account), "{account:?}");
    let security = pod.security_context.as_ref().expect("a security context");
    assert_eq!(security.run_as_non_root, Some(true));
    let [container] = &pod.containers[..] else { panic!("one container, got {pod:?}") };
    assert_eq!(container.image.as_deref(), Some(concat!("accrue:", env!("CARGO_PKG_VERSION"))));
    let more = (&pod.init_containers, &pod.volumes, &container.env_from);
    assert_eq!(more, (&None, &None, &None), "nobody here reads what these name");
    let security = container.security_context.as_ref().expect("a security context");
    assert_eq!(security.read_only_root_filesystem, Some(true));
    assert_eq!(security.allow_privilege_escalation, Some(false));
    let resources = container.resources.as_ref().expect("resources");
    let requests = resources.requests.as_ref().expect("requests");
    assert!(requests.contains_key("cpu") && requests.contains_key("memory"));
    assert!(resources.limits.as_ref().is_some_and(|it| it.contains_key("memory")));
    for variable in container.env.iter().flatten() {
        let secret = ["URL", "KEY", "SECRET"].iter().any(|it| variable.name.ends_with(it));
        let from = variable.value_from.as_ref();
        let by_secret = from.and_then(|it| it.secret_key_ref.as_ref());
        let by_config = from.and_then(|it| it.config_map_key_ref.as_ref());
        let ways = [by_secret.is_some(), by_config.is_some(), variable.value.is_some()];
        assert_eq!(ways.iter().filter(|it| **it).count(), 1, "{}", variable.name);
        assert!(by_secret.is_some() || !secret, "{} is a secret", variable.name);
        let by_secret = by_secret.map(|it| (&it.name, &it.key));
        if let Some((name, key)) = by_secret.or(by_config.map(|it| (&it.name, &it.key))) {
            assert!(is_told_of(name, key), "nobody is told to make {name} with {key}");
        }
    }
    container.clone()
}

#[test]
fn the_manifests_are_what_kubernetes_knows_and_all_that_they_name_is_there() {
    let all = kustomized(MANIFESTS);
    let names: BTreeSet<_> = all.iter().map(kind).collect();
    assert_eq!(names.len(), all.len(), "no two are of one name");
    let accounts: Vec<ServiceAccount> = of(&all, "ServiceAccount");
    let deployments: Vec<Deployment> = of(&all, "Deployment");
    let budgets: Vec<PodDisruptionBudget> = of(&all, "PodDisruptionBudget");
    let services: Vec<Service> = of(&all, "Service");
    let jobs: Vec<Job> = of(&all, "Job");
    let policies: Vec<NetworkPolicy> = of(&all, "NetworkPolicy");
    let read = accounts.len() + deployments.len() + budgets.len() + services.len();
    assert_eq!(read + jobs.len() + policies.len(), all.len(), "a kind that nobody checked");

    let mut pods = Vec::new();
    for (deployment, role) in deployments.iter().zip(ROLES) {
        assert_eq!(deployment.metadata.name.as_deref(), Some(&*format!("accrue-{role}")));
        let spec = deployment.spec.as_ref().expect("a spec");
        let labels = labels(&spec.template);
        assert!(selects(spec.selector.match_labels.as_ref(), &labels), "{role}");
        assert_eq!(labels["app.kubernetes.io/component"], role);
        let pod = spec.template.spec.as_ref().expect("a pod");
        // The server drains for 30 s at most.
        assert!(pod.termination_grace_period_seconds.is_some_and(|it| it > 30), "{role}");
        let container = container(pod, &accounts);
        let roles = format!("--roles={role}");
        assert_eq!(container.args, Some(vec!["serve".to_owned(), roles]));
        let path = |probe: Option<&k8s_openapi::api::core::v1::Probe>| {
            probe.and_then(|it| it.http_get.as_ref()).and_then(|it| it.path.clone())
        };
        assert_eq!(path(container.readiness_probe.as_ref()).as_deref(), Some("/readyz"));
        assert_eq!(path(container.liveness_probe.as_ref()).as_deref(), Some("/livez"));
        assert_eq!(path(container.startup_probe.as_ref()).as_deref(), Some("/livez"));
        let bound = |it: &str| container.env.iter().flatten().any(|variable| variable.name == it);
        let follows = FOLLOWERS.contains(&role);
        assert_eq!(bound("ACCRUE_FEED"), follows, "by the log or by Kafka: {role}");
        assert_eq!(
            bound("ACCRUE_READY_LAG_SECONDS_MAX"),
            follows,
            "readiness includes lag: {role}"
        );
        let of_pod = |it: &&PodDisruptionBudget| {
            let spec = it.spec.as_ref().and_then(|it| it.selector.as_ref());
            selects(spec.and_then(|it| it.match_labels.as_ref()), &labels)
        };
        assert_eq!(budgets.iter().filter(of_pod).count(), 1, "{role}");
        let replicas = spec.replicas.expect("a number");
        assert!(replicas >= 2, "{role}: a budget of one pod would hold up its node");
        let arguments = container.args.as_deref().unwrap_or_default();
        settings_are_taken(&arguments[1..], &variables(&container));
        pods.push(labels);
    }
    assert_eq!((deployments.len(), budgets.len()), (ROLES.len(), ROLES.len()));
    for service in &services {
        let spec = service.spec.as_ref().expect("a spec");
        let selected = pods.iter().filter(|it| selects(spec.selector.as_ref(), it)).count();
        assert_eq!(selected, 1, "{:?}", service.metadata.name);
        assert!(spec.type_.is_none(), "nothing is reached from outside of the cluster");
    }
    let [job] = &jobs[..] else { panic!("one job") };
    let pod = job.spec.as_ref().and_then(|it| it.template.spec.as_ref()).expect("a pod");
    assert_eq!(container(pod, &accounts).args, Some(vec!["migrate".to_owned()]));
    assert_eq!(policies.len(), 2);

    let scaling = documents(&file(&format!("{MANIFESTS}/autoscaling.yaml")));
    let scaling: Vec<HorizontalPodAutoscaler> = of(&scaling, "HorizontalPodAutoscaler");
    let target = &scaling[0].spec.as_ref().expect("a spec").scale_target_ref;
    assert!(names.contains(&(target.kind.clone(), target.name.clone())), "{target:?}");

    if is_installed(&["kubectl", "version", "--client"]) {
        let mut kubectl = Command::new("kubectl");
        let output = kubectl.args(["kustomize", MANIFESTS]).current_dir(workspace()).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rendered = documents(&String::from_utf8(output.stdout).expect("UTF-8"));
        let by_name = |all: Vec<Value>| -> BTreeMap<_, _> {
            all.into_iter().map(|it| (kind(&it), it)).collect()
        };
        assert_eq!(by_name(all), by_name(rendered), "ours, and what kubectl renders");
    }
}

type Variables = BTreeMap<String, String>;

/// What a container is told, with something made up for what comes from elsewhere.
fn variables(container: &Container) -> Variables {
    let value = |variable: &EnvVar| match (&variable.value, variable.name.as_str()) {
        (Some(value), _) => value.clone(),
        (None, "ACCRUE_DATABASE_URL" | "ACCRUE_READ_DATABASE_URL") => {
            "postgres://accrue@postgres:5432/accrue".to_owned()
        }
        (None, "ACCRUE_PAYMENTS") => "none".to_owned(),
        (None, "ACCRUE_FEED") => "kafka".to_owned(),
        (None, "ACCRUE_KAFKA_BOOTSTRAP") => "kafka:9092".to_owned(),
        (None, _) => "made up".to_owned(),
    };
    container.env.iter().flatten().map(|it| (it.name.clone(), value(it))).collect()
}

/// The program takes what it is told.
fn settings_are_taken(arguments: &[String], variables: &Variables) {
    let mut command = program::command(["config", "show"]);
    let output = command.args(arguments).envs(variables).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // An empty value is none.
    for (name, _) in variables.iter().filter(|(_, value)| !value.is_empty()) {
        assert!(said.contains(&format!("environment {name}")), "{name}");
    }
}

#[tokio::test]
async fn a_database_is_migrated_before_any_server_comes() {
    let database = Database::create().await;
    for _ in 0..2 {
        let said = program::run(["migrate", "--database-url", &database.url]).await;
        said.expect_success();
    }
    assert_eq!(database.number("SELECT position FROM log_head").await, 0);
    database.migrated_by_a_newer_build().await;
    // A roll-back: there is nothing to do.
    program::run(["migrate", "--database-url", &database.url]).await.expect_success();
    database.run("UPDATE schema_support SET oldest = 9999").await;
    let said = program::run(["migrate", "--database-url", &database.url]).await;
    assert_eq!((said.code, said.err.lines().count()), (Some(1), 1), "{said:?}");
    assert!(said.err.contains("made by a newer version of accrue"), "{said:?}");
}
