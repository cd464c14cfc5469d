"""How often a process joins a cluster or starts one, without any cluster."""

from __future__ import annotations

import pytest

from mss_core.study.execution import joining


@pytest.mark.parametrize(("address", "here"), [("local", True), ("192.0.2.1:6379", False)])
def test_what_is_inside_takes_the_cluster_that_is_there(address: str, here: bool, monkeypatch, capsys) -> None:
    """Ray refuses to join a second time, as a second look or a study after its search would."""
    calls = []
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(joining.ray, "init", lambda **options: calls.append(options["address"]))
    monkeypatch.setattr(joining.ray, "shutdown", lambda: calls.append("left"))
    for _ in range(2):
        with joining.connected() as outer:
            for _ in range(2):
                with joining.connected() as inner:
                    assert inner is outer is here
            assert calls == [address]
        assert calls == [address, "left"]
        assert len(capsys.readouterr().err.splitlines()) == 1
        calls.clear()


def test_a_cluster_that_did_not_answer_is_asked_again(monkeypatch) -> None:
    def silent(**options: object) -> None:
        raise ConnectionError("nobody")

    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    monkeypatch.setattr(joining.ray, "init", silent)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no Ray cluster answers at 192.0.2.1:6379"), joining.connected():
            pass
