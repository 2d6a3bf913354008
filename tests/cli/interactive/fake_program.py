"""The program with a fixer that needs no models: every line ``name = old  # RULE new [new ...]`` is a finding, its fixes put ``new`` there.

``breaks`` as a new value is rolled back, ``words`` is a fix in words only, ``unsafe`` an unsafe one. ``gone`` takes the next finding along.
``name = older  # NA104`` has two findings: it should be ``old``, and, as long as it is one of them, ``new``.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import normadvisor.api.fixing.fixer
from normadvisor.api.check import Checked
from normadvisor.api.fixing import Applied, Candidate, Choice, FixRun, Proven, RolledBack, Skipped, Trial
from normadvisor.api.progress import Progress
from normadvisor.cli.run import run
from normadvisor.rewrite.keys import KeyMap
from normadvisor.rewrite.proof.result import Proof
from normadvisor.rewrite.text.apply import merged
from normadvisor.rewrite.text.changes import FileChange, changed_files
from normadvisor.rulebook.catalogue import load_rules
from normadvisor.types import Applicability, Confidence, Edit, Finding, Fix, ModelSummary, Report, Severity

LINE = re.compile(r"^(\w+) = (old|older)(  # (\w+)((?: \w+)*))?$", re.MULTILINE)
PROOF = Proven(
    "net.py:Net", Proof(equal=True, modes=("train", "eval"), draws=3, worst=3e-15, what="outputs, gradients and buffers")
)


class FakeFixer:
    def __init__(self, targets, find_settings, options, progress=None):
        self.path = Path(targets[0])
        self.disk = self.path.read_bytes()
        self.contents = {}
        self.settings = find_settings(Path.cwd())
        self.rules = {rule.id: rule for rule in load_rules(())}
        self.progress = progress or (lambda step: None)
        self.to = options.to

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def now(self):
        return self.contents.get(self.path.resolve(), self.disk)

    def found(self, data):
        text = data.decode()
        for match in LINE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            begin, end = (match.start(2) - match.start() + 1, match.end(2) - match.start() + 1)
            if match[2] == "older":
                yield self.finding(match, line, begin, end, ["old"], match[4])
                yield self.finding(match, line, begin, end, ["new"], "NA105")
            elif match[4] and not match[5]:
                yield self.finding(match, line, begin, end, ["new"], "NA105")
            else:
                yield self.finding(match, line, begin, end, (match[5] or "").split(), match[4] or "NA104")

    def finding(self, match, line, begin, end, words, rule):
        fixes = []
        for word in words:
            safe = {"words": Applicability.DISPLAY, "unsafe": Applicability.UNSAFE}.get(word, Applicability.SAFE)
            edits = () if word == "words" else (Edit(str(self.path), line, begin, line, end, word),)
            fixes.append(Fix(safe, f"Put {word} in place of old.", edits, f"Use {word}", f"{word} costs more"))
        return Finding(
            rule=rule, name="some-rule", severity=Severity.WARNING, confidence=Confidence.CONFIRMED,
            message=f"{match[1]} is {match[2]}", path=str(self.path), line=line, column=begin, end_line=line, end_column=end,
            fix=fixes[0] if fixes else None, alternatives=tuple(fixes[1:]), fingerprint=match[1] + rule, evidence={"age": 3},
        )  # fmt: skip

    def report(self, data):
        model = ModelSummary(target="net.py:Net", trace="symbolic", inputs="", modules=1, nodes=1)
        return Checked(report=Report(findings=tuple(self.found(data)), models=(model,)), settings=self.settings, rules=self.rules)

    def check(self):
        return self.report(self.now())

    def candidates(self):
        found = []
        for finding in self.found(self.now()):
            fixes = [fix for fix in (finding.fix, *finding.alternatives) if fix is not None]
            found.append(Candidate(finding, tuple(fix for fix in fixes if fix.edits), tuple(fix for fix in fixes if not fix.edits)))
        return [candidate for candidate in found if candidate.fixes or candidate.others]

    def try_choices(self, choices):
        for phase in ("building", "proving"):
            self.progress(Progress(done=0, total=1, target="net.py:Net", phase=phase))
            time.sleep(0.05)
        if any("slow" in choice.fix.title for choice in choices):
            time.sleep(1000)
        taken = merged([choice.fix.edits for choice in choices])
        tried = [choices[index] for index in taken.taken]
        bad = [choice for choice in tried if "breaks" in choice.fix.title]
        good = [choice for choice in tried if choice not in bad]
        now = changed_files([edit for choice in good for edit in choice.fix.edits], lambda _path: self.now())
        after = now[0].after if now else self.now()
        if any("gone" in choice.fix.title for choice in good):
            after = re.sub(rb"= old.*\n", b"= gone\n", after, count=1)
        return Trial(
            held=tuple(Applied(choice.finding, choice.fix, (PROOF,) if choice.fix.applicability is Applicability.SAFE else ()) for choice in good),
            rolled_back=tuple(RolledBack(choice.finding, choice.fix, "the outputs differ by 0.5") for choice in bad),
            waiting=tuple(choices[index] for index in taken.waiting),
            changes=(FileChange(self.path, self.disk, after),) if after != self.disk else (),
            proofs=(PROOF,) if good else (),
            after=self.report(after),
            key_maps={"net.py:Net": KeyMap(dropped=tuple(f"{choice.finding.fingerprint[0]}.bias" for choice in good))} if good else {},
        )  # fmt: skip

    def keep(self, trial):
        if trial.changes:
            self.contents[self.path.resolve()] = trial.changes[0].after

    def fix_all(self, *, unsafe=False, progress=None):
        before = self.check()
        choices, skipped = [], []
        for candidate in self.candidates():
            if candidate.default is None:
                skipped.append(Skipped(candidate.finding, candidate.reason))
            elif candidate.default.applicability is Applicability.SAFE or unsafe:
                choices.append(Choice(candidate.finding, candidate.default))
            else:
                skipped.append(Skipped(candidate.finding, "only with unsafe fixes", unsafe=True))
        trial = self.try_choices(choices)
        return FixRun(
            before=before, after=trial.after, applied=trial.held, rolled_back=trial.rolled_back, skipped=tuple(skipped), proofs=trial.proofs,
            changes=trial.changes, key_maps=trial.key_maps, rounds=1,
        )  # fmt: skip


normadvisor.api.fixing.fixer.Fixer = FakeFixer  # type: ignore[misc]

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
