"""Compares the topics of a ledger with a dump of its log, in another language than both were made in.

Reads every topic `<prefix>.events.<program>` from its beginning as a consumer of committed records,
and checks against the dump (a JSON object a line, as SQL gives it):

- every event of the log is there once, and nothing else;
- a stream is in the one partition that Java's client would choose, and in order;
- the bytes of the value are those of the log, and the headers say what the log says.

Events of parked streams, from the parked event on, must not be there.
"""

import argparse
import json
import sys
import time

from confluent_kafka import Consumer, KafkaError, TopicPartition

SHOWN_MAX = 20
QUIET_MAX = 60


def murmur2(data):
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k ^= k >> 24
        h = (h * m & mask) ^ (k * m & mask)
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h ^= h >> 13
    h = h * m & mask
    return h ^ (h >> 15)


def records(bootstrap, topics):
    """Every committed record of these topics; each partition in its order."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "differ",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    try:
        partitions = []
        for topic in topics:
            metadata = consumer.list_topics(topic, timeout=30).topics[topic]
            if metadata.error is None:
                partitions += [TopicPartition(topic, at, 0) for at in metadata.partitions]
        counts = {}
        for it in partitions:
            counts[it.topic] = counts.get(it.topic, 0) + 1
        consumer.assign(partitions)
        open_partitions = {(it.topic, it.partition) for it in partitions}
        heard = time.monotonic()
        while open_partitions:
            for message in consumer.consume(10_000, timeout=0.2):
                heard = time.monotonic()
                if message.error() is None:
                    yield message, counts[message.topic()]
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    open_partitions.discard((message.topic(), message.partition()))
                else:
                    sys.exit(f"Kafka: {message.error()}")
            if time.monotonic() - heard > QUIET_MAX:
                sys.exit(f"the ends of {sorted(open_partitions)} are not reached")
    finally:
        consumer.close()


def read(message):
    """The attributes by name and the bytes of the data, from either form."""
    headers = {name: value.decode() for name, value in message.headers() or []}
    value = message.value()
    if not headers["content-type"].startswith("application/cloudevents"):
        return {n[3:]: v for n, v in headers.items() if n.startswith("ce_")}, value
    attributes = json.loads(value)
    del attributes["data"]
    if attributes.pop("datacontenttype") != "application/json":
        sys.exit("a structured record of another content")
    mark = b',"data":'
    return attributes, value[value.index(mark) + len(mark) : -1]


def expected_attributes(event):
    """What the headers of an event of our own must be."""
    metadata = json.loads(event["metadata"])
    stream = event["aggregate_id"].split("/", 1)[1]
    name, version = event["event_type"], event["event_version"]
    attributes = {
        "specversion": "1.0",
        "id": str(event["position"]),
        "source": "/programs/" + event["program"],
        "type": name,
        "subject": event["aggregate_type"] + "/" + stream,
        "dataschema": f"urn:accrue:schema:{name}.v{version}",
        "position": str(event["position"]),
        "sequence": str(event["sequence"]),
        "eventversion": version,
        "time": metadata["occurred_at"],
        "commandid": metadata["command_id"],
        "correlationid": metadata.get("correlation_id", metadata["command_id"]),
    }
    for name, member in [("causationid", "causation_id"), ("actor", "actor")]:
        if member in metadata:
            attributes[name] = metadata[member]
    for name in ["traceparent", "tracestate"]:
        if name in metadata:
            attributes[name] = metadata[name]
    return attributes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--dump", required=True)
    parser.add_argument("--topic", help="all is in this one topic instead")
    parser.add_argument("--first", type=int, default=1, help="only events from this position on")
    arguments = parser.parse_args()

    log, parked = {}, {}
    with open(arguments.dump, encoding="utf-8") as dump:
        for line in dump:
            it = json.loads(line)
            if "parked" in it:
                parked[(it["aggregate_type"], it["aggregate_id"])] = it["parked"]
            elif it["position"] >= arguments.first:
                log[it["position"]] = it

    def is_parked(event):
        stream = (event["aggregate_type"], event["aggregate_id"])
        return stream in parked and event["position"] >= parked[stream]

    def topic_of(event):
        return arguments.topic or f"{arguments.prefix}.events.{event['program']}"

    wanted = {at: it for at, it in log.items() if not is_parked(it)}
    topics = sorted({topic_of(it) for it in log.values()})
    wrong, seen, last, streams = [], set(), {}, {}
    for message, partitions in records(arguments.bootstrap, topics):
        attributes, data = read(message)
        position = int(attributes["position"])
        place = (message.topic(), message.partition())
        where = f"{place[0]}[{place[1]}]@{message.offset()}, position {position}"
        event = wanted.get(position)
        if event is None:
            wrong.append(f"{where}: not to be there")
            continue
        if position in seen:
            wrong.append(f"{where}: there twice")
        seen.add(position)
        if place[0] != topic_of(event):
            wrong.append(f"{where}: belongs into {topic_of(event)}")
        if position <= last.get(place, 0):
            wrong.append(f"{where}: behind position {last[place]}")
        last[place] = position
        expected = expected_attributes(event)
        key = message.key().decode()
        if key != expected["subject"]:
            wrong.append(f"{where}: has the key {key}")
        if murmur2(message.key()) % 0x80000000 % partitions != message.partition():
            wrong.append(f"{where}: Java would choose another partition for {key}")
        home = streams.setdefault((place[0], key), place)
        if home != place:
            wrong.append(f"{where}: its stream is in {home} as well")
        if data != event["payload"].encode():
            wrong.append(f"{where}: has {data!r} and not {event['payload']!r}")
        differing = [n for n, v in expected.items() if attributes.get(n) != v]
        if differing:
            wrong.append(f"{where}: differs in {differing}: {attributes}")
    missing = sorted(set(wanted) - seen)
    if missing:
        wrong.append(f"{len(missing)} events are missing: {missing[:SHOWN_MAX]}")
    for line in wrong[:SHOWN_MAX]:
        print(line)
    if wrong:
        sys.exit(f"{len(wrong)} differences")
    print(f"{len(seen)} events, each once and in order")


if __name__ == "__main__":
    main()
