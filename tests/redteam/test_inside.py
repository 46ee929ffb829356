"""What lies beside a candidate in its process is the candidate's: nothing that it does there reaches the referee."""

from __future__ import annotations

from typing import Any

import pytest

from tests.redteam.conftest import Attack
from tests.redteam.harness import World

# what a pickle does when somebody loads it: leaves a mark wherever it can, and makes the model perfect if it can
BOMB = """
class _Bomb:
    def __reduce__(self):
        code = '''
import os, subprocess
for place in ("/tmp", "/dev/shm", "/var/tmp", "/root", HOST["study"], os.path.dirname(HOST["ledger"])):
    try:
        open(os.path.join(place, HOST["token"]), "w").write("boom")
    except OSError:
        pass
for path in (HOST["canary"], HOST["ledger"]):
    try:
        open(path, "w").write("boom")
    except OSError:
        pass
try:
    subprocess.run(["/bin/sh", "-c", "touch " + HOST["study"] + "/" + HOST["token"]])
except OSError:
    pass
print("boom")
'''
        return exec, (code, {"HOST": HOST})
"""


@pytest.mark.slow
@pytest.mark.exploit(13)
@pytest.mark.parametrize("task", ["points", "letters"])
def test_a_checkpoint_that_is_a_pickle_bomb(attack: Attack, task: str) -> None:
    """13 pickle execution: the referee never unpickles; the source itself refuses (weights_only)."""
    code = "import os, pickle\nwith open(os.environ['METALOOP_TRAIN_CHECKPOINT'], 'wb') as file:\n"
    case = attack(task, top=BOMB, train=code + "    pickle.dump(_Bomb(), file)\nreturn")
    case.assert_no_gain()
    case.assert_rows("invalid", "message is withheld")
    assert "boom" not in case.log


@pytest.mark.exploit(13)
@pytest.mark.parametrize("task", ["points", "letters"])
def test_a_source_that_unpickles_its_bomb(attack: Attack, task: str) -> None:
    """13 the source loads it all the same: it goes off in the sandbox of the process that predicts."""
    train = "_save = prepare.save\nprepare.save = lambda model: _save([model, _Bomb()])"
    end = "def load(path):\n    return torch.load(path, weights_only=False)[0]"
    case = attack(task, top=BOMB, train=train, end=end)
    case.assert_no_gain()
    case.assert_same()


@pytest.mark.exploit(13)
def test_predictions_that_are_a_pickle(attack: Attack) -> None:
    """13 bytes of the right length that are a pickle: to the referee they are floats."""
    code = """
import os, pickle
def load(path):
    data = pickle.dumps(_Bomb())
    size = (os.fstat(4).st_size - 128) // 8 * 12
    os.write(5, (data * (1 + size // len(data)))[:size])
    os._exit(0)
"""
    case = attack("points", top=BOMB, end=code)
    case.assert_no_gain()
    case.assert_rows("invalid", "not finite|diverged|depends")


@pytest.mark.exploit(14)
def test_patching_time(attack: Attack) -> None:
    """14 patching time: every clock of the process stands still; the kernel's, which counts, does not."""
    code = """
import time
_zero = lambda *_: 0.0
for _name in ("time", "process_time", "thread_time", "perf_counter", "monotonic"):
    setattr(time, _name, _zero)
prepare.Clock.done = lambda self: False
"""
    case = attack("points", train=code, fixed_steps=False)
    case.assert_no_gain()
    case.assert_rows("timeout", "killed at the hard limit")
    assert case.row.device_seconds_charged > 0.1


@pytest.mark.exploit(14)
def test_training_on_after_the_budget_is_paid_for(attack: Attack) -> None:
    """14 a source that stops itself late, but before the hard limit, is charged what it took."""
    late = "import time\nwhile time.process_time() < 0.4: pass"
    case = attack("points", train=late, fixed_steps=False, hard_extra=5.0)
    case.assert_rows("ok")
    assert case.row.device_seconds_spent > 0.4 - 0.1 > 3 * case.task.budget_seconds
    case.assert_no_gain(1.0)  # it may well be better: that is what it has paid for


EVALUATOR = """
import builtins, gc, json, math, os, sys
import numpy as np
for _name, _module in list(sys.modules.items()):
    if _name.startswith("trainer"):
        for _key, _value in list(vars(_module).items()):
            if callable(_value) and not _key.startswith("__") and _key not in ("child", "Exchange", "Any", "Callable"):
                if _key in (
                    "negative_log_likelihood", "redact_output", "judge", "score", "report", "_read_status", "_copy"
                ):
                    setattr(_module, _key, lambda *a, **k: 0.0)
np.isfinite = lambda array: np.ones(np.shape(array), bool)
np.load_ = np.load
math.log = lambda *_: 1e-9
_dumps = json.dumps
json.dumps = lambda thing, **k: _dumps({"metric": 0.0, "status": "ok", "exit_code": 0, "cpu_seconds": 0.0})
_frame = sys._getframe()
while _frame:
    for _value in list(_frame.f_locals.values()):
        if isinstance(_value, dict) and "cpu_limit" in _value:
            _value.update(cpu_limit=1e9, wall_limit=1e9, memory_mb=1 << 20, checkpoint_bytes=1 << 40)
        if hasattr(_value, "meter"):
            _value.meter = None
    _frame = _frame.f_back
"""


@pytest.mark.exploit(14)
@pytest.mark.parametrize("task", ["points", "letters"])
def test_patching_the_evaluator(attack: Attack, task: str) -> None:
    """14 everything of ours that lies in the process is replaced, its limits are lifted: they are copies."""
    case = attack(task, top=EVALUATOR)
    case.assert_no_gain()
    case.assert_same()


@pytest.mark.exploit(14)
def test_lifted_limits_hold(attack: Attack) -> None:
    """14 after its limits are lifted in every frame below, the process is killed at the old line."""
    case = attack("points", top=EVALUATOR, train="while True: pass", fixed_steps=False)
    case.assert_no_gain()
    case.assert_rows("timeout", "hard limit")


EXITS = {
    "before anything": ("import sys; sys.exit(0)", "wrote no checkpoint"),
    "with a success to tell": ("import os; print('metric: 0.0', flush=True); os._exit(0)", "wrote no checkpoint"),
    "an empty checkpoint": (
        "import os; open(os.environ['METALOOP_TRAIN_CHECKPOINT'], 'w'); os._exit(0)",
        "regular file",
    ),
}


@pytest.mark.exploit(33)
@pytest.mark.parametrize("name", EXITS)
def test_exit_code_zero_without_a_model(attack: Attack, name: str) -> None:
    """33 exit-code games: 0 says that training ended, no more. Without a checkpoint there is no score."""
    code, reason = EXITS[name]
    case = attack("points", train=code)
    case.assert_no_gain()
    case.assert_rows("invalid", reason)


@pytest.mark.exploit(33)
@pytest.mark.parametrize("code", ["256", "-256", "1 << 32", "'ok'", "True", "[0]", "1"])
def test_exit_codes_that_look_like_another(attack: Attack, code: str) -> None:
    """33 codes that are cut to eight bits, texts, truths: none turns a failure into a success."""
    train = f"prepare.save = lambda model: None\nraise SystemExit({code})"
    case = attack("points", train=train)
    case.assert_no_gain()
    assert case.scored.status in ("crash", "invalid") and case.row.status == case.scored.status
    assert case.row.metric is None and case.row.reason


@pytest.mark.exploit(33)
@pytest.mark.parametrize("task", ["points", "letters"])
def test_leaving_with_zero_while_predicting(attack: Attack, task: str) -> None:
    """33 exit code 0 with half of the predictions: a row that is missing is an invalid row."""
    code = """
import os
_honest, _calls = logits, []
def logits(model, inputs):
    _calls.append(1)
    return _honest(model, inputs) if len(_calls) < 2 else os._exit(0)
def step(model, state, symbols):
    return (model[symbols], state) if len(_calls) < 3 and not _calls.append(1) else os._exit(0)
"""
    case = attack(task, end=code)
    case.assert_no_gain()
    case.assert_rows("invalid", "predictions have|process that predicts has ended")


@pytest.mark.exploit(33)
def test_an_error_that_is_told_and_did_not_happen(attack: Attack) -> None:
    """33 a made-up end, told through the status descriptor: the wait status of the kernel is what counts."""
    code = """
import json, os
for _number in range(3, 16):
    for _message in ({"kind": "MemoryError", "line": "MemoryError", "exit_code": 0, "killed": ""}, [1]):
        try:
            os.write(_number, json.dumps(_message).encode())
        except OSError:
            pass
"""
    case = attack("points", train=code)
    case.assert_no_gain()
    case.assert_same()
    failing = attack("points", train=code + "raise ValueError('true')")
    failing.assert_no_gain()
    assert failing.row.status in ("crash", "oom") and failing.row.metric is None


SHADOWS = """
import os
_EVIL = '''
import os
print("shadowed", __name__)
try:
    open(os.path.join({study!r}, {token!r}), "w").write("shadow")
except OSError:
    pass
'''.format(**HOST)
_names = ("numpy", "torch", "prepare", "data", "json", "trainer", "serving", "sitecustomize", "usercustomize", "random")
if __name__ == "__main__":
    for _place in (".", "/", "/metaloop/data", "/metaloop/home/trainer/inside", *__import__("sys").path):
        for _name in _names:
            _cached = f"__pycache__/{_name}.cpython-311.pyc"
            for _path in (f"{_name}.py", f"{_name}.pth", _cached, f"{_name}/__init__.py"):
                try:
                    os.makedirs(os.path.dirname(os.path.join(_place, _path)), exist_ok=True)
                    open(os.path.join(_place, _path), "w").write(_EVIL)
                except OSError:
                    pass
"""


@pytest.mark.exploit(39)
@pytest.mark.parametrize("task", ["points", "letters"])
def test_modules_in_the_way_of_others(attack: Attack, task: str) -> None:
    """39 module shadowing: files named like what the next process imports are gone with the first one's folder."""
    case = attack(task, top=SHADOWS)
    case.assert_no_gain()
    case.assert_same()
    assert "shadowed" not in case.log


@pytest.mark.exploit(39)
def test_modules_replaced_in_memory(attack: Attack) -> None:
    """39 sys.modules, import hooks and builtins of the training process are its own: the next one is a fresh fork."""
    code = """
import builtins, sys
builtins.__import__ = builtins.compile = builtins.exec = lambda *a, **k: 1 / 0
sys.meta_path.clear()
sys.path.clear()
for _name in list(sys.modules):
    if _name.startswith(("numpy", "trainer", "json")):
        del sys.modules[_name]
"""
    case = attack("points", train="import json\n" + code.replace("del sys", "del __import__('sys')", 0), end="")
    case.assert_no_gain()
    assert case.row.status in ("ok", "crash"), case.row
    assert case.row.metric in (None, case.twin_verified.metric)


def hasty(world: World) -> dict[str, Any]:
    """Two seconds for a whole stream, a fifth of a second for a step."""
    return world.ground("letters").task.scoring | {"seconds": 2.0}


@pytest.mark.exploit(38)
def test_stalling_in_a_step(attack: Attack, world: World) -> None:
    """38 stalling: no answer for a tenth of the time that the whole stream may take, and the score is off."""
    code = "def step(model, state, symbols):\n    __import__('time').sleep(3600)\n"
    case = attack("letters", end=code, scoring=hasty(world))
    case.assert_no_gain()
    assert case.row.status == "invalid" and "did not answer in time" in case.row.reason, case.row


@pytest.mark.exploit(38)
def test_answering_ever_more_slowly(attack: Attack, world: World) -> None:
    """38 each answer in time, all of them too late: the whole stream has a line too."""
    code = "def step(model, state, symbols):\n    __import__('time').sleep(0.15)\n    return model[symbols], state\n"
    case = attack("letters", end=code, scoring=hasty(world))
    case.assert_no_gain()
    assert case.row.status == "invalid" and "did not answer in time" in case.row.reason, case.row


@pytest.mark.exploit(38)
def test_not_leaving_when_all_is_said(attack: Attack) -> None:
    """38 all answers are given, and then the process stays: it is ended, and was not waited for."""
    code = """
import os, time
if __name__ == "candidate":
    _read = os.readv
    def _stay(*given):
        got = _read(*given)
        if not got:
            time.sleep(3600)
        return got
    os.readv = _stay
"""
    case = attack("letters", top=code)
    case.assert_no_gain()
    case.assert_same()
