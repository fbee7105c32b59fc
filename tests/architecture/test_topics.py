"""The catalogue of topics is honest: every card complete, every example valid, no file unreferenced."""

import msgspec
import pytest

from cdp_schemas import topics
from cdp_schemas.catalogue import MESSAGES, codec_of

CARDS = topics.all_topics()
EXAMPLES = sorted(topics.EXAMPLES_DIR.glob("*/*/*.json"))
RUNNABLE = {"ingest", "resolver", "recorder", "segmenter", "activation", "analytics-api"}


def test_constants_and_cards_name_the_same_topics() -> None:
    constants = {value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)}
    assert constants == set(CARDS)


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_complete(name: str) -> None:
    card = CARDS[name]
    assert card.description.endswith(".") and card.key
    assert card.message in MESSAGES
    assert card.producers and {*card.producers, *card.consumers} <= RUNNABLE
    assert list(card.versions) == list(range(1, len(card.versions) + 1))
    assert card.retention_hours is not None or card.compacted, "only a compacted topic may be kept for ever"


@pytest.mark.parametrize("name", CARDS)
def test_what_a_topic_holds_has_an_end(name: str) -> None:
    """Messages leave with their segment; by itself one takes a gigabyte or a week."""
    config = CARDS[name].config
    assert int(config["segment.ms"]) <= 24 * 3_600_000
    if CARDS[name].compacted:
        assert int(config["min.compaction.lag.ms"]) < int(config["max.compaction.lag.ms"])
    else:
        assert int(config["retention.ms"]) > int(config["segment.ms"])


def test_co_partitioned_topics_have_the_same_number_of_partitions() -> None:
    assert CARDS[topics.EVENTS_RECEIVED].partitions == CARDS[topics.EVENTS_IDENTIFIED].partitions


def test_a_dead_letter_takes_every_message_of_its_topic() -> None:
    # raw bytes travel as base64
    assert CARDS[topics.EVENTS_RECEIVED_DLQ].max_message_bytes >= CARDS[topics.EVENTS_RECEIVED].max_message_bytes * 2


@pytest.mark.parametrize("name", CARDS)
def test_a_topic_has_an_example_of_each_version(name: str) -> None:
    versions = {path.parent.name for path in EXAMPLES if path.parent.parent.name == name}
    assert versions == {str(version) for version in CARDS[name].versions}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: "/".join(path.parts[-3:]))
def test_an_example_survives_the_codec(path) -> None:
    card, version = CARDS[path.parent.parent.name], int(path.parent.name)
    codec = codec_of([*card.earlier, *[card.message] * len(card.versions)][version - 1])
    message = codec.decode(path.read_bytes())
    assert msgspec.json.decode(codec.encode(message)).items() >= msgspec.json.decode(path.read_bytes()).items()


def test_every_message_class_is_on_a_card() -> None:
    assert {message for card in CARDS.values() for message in (card.message, *card.earlier)} == set(MESSAGES)
