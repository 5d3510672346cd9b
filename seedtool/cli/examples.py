"""One example for each command, which its --help shows. tests/cli/test_help.py reads the arguments of each."""

import click

EXAMPLES = {
    "db-reset": "seedtool db-reset --yes --seed local",
    "migrate": "seedtool migrate",
    "snapshot": "seedtool snapshot save before-merge",
    "snapshot save": "seedtool snapshot save before-merge --note 'two bugs in it'",
    "snapshot restore": "seedtool snapshot restore before-merge --yes",
    "snapshot list": "seedtool snapshot list",
    "snapshot rename": "seedtool snapshot rename before-merge monday",
    "snapshot delete": "seedtool snapshot delete before-merge --yes",
    "snapshot export": "seedtool snapshot export before-merge before-merge.dump",
    "snapshot import": "seedtool snapshot import before-merge.dump --name from-ana",
    "guard": "seedtool guard status",
    "guard status": "seedtool guard status",
    "guard protect": "seedtool guard protect",
    "guard unprotect": "seedtool guard unprotect --confirm shop",
    "psql": "seedtool psql -c 'SELECT count(*) FROM students'",
    "shell": "seedtool shell -c 'print(settings.database)'",
    "seed": "seedtool seed local --dry-run",
    "seed load": "seedtool seed load district --scale 2",
    "seed unload": "seedtool seed unload district",
    "seed recipe": "seedtool seed recipe students grades > seeds/class.toml",
    "seed-dump": "seedtool seed-dump --table students",
    "sync-faces": "seedtool sync-faces --dry-run",
    "enroll": "seedtool enroll student-001 front.jpg side.jpg",
    "recognize": "seedtool recognize class.jpg",
    "faces": "seedtool faces status",
    "faces status": "seedtool faces status",
    "faces dedupe": "seedtool faces dedupe --dry-run",
    "faces review": "seedtool faces review --web --open",
    "backfill": "seedtool backfill --dry-run --limit 100",
    "refresh": "seedtool refresh --from postgresql://prod/shop --dry-run",
    "refresh scan": "seedtool refresh scan --from postgresql://prod/shop > policy.toml",
    "refresh check": "seedtool refresh check --policy staging/policy.toml",
    "init": "seedtool init",
    "doctor": "seedtool doctor",
    "config": "seedtool config",
    "completion": "seedtool completion bash --install",
    "server": "seedtool server status",
    "server start": "seedtool server start --port 5433",
    "server stop": "seedtool server stop",
    "server status": "seedtool server status",
    "env": 'eval "$(seedtool env)"',
    "emulator": "seedtool emulator --port 9999",
    "ci": "seedtool ci prepare --seed local",
    "ci prepare": "seedtool ci prepare --seed local --cache .seedtool-cache",
    "cache": "seedtool cache list",
    "cache list": "seedtool cache list",
    "cache prune": "seedtool cache prune --dry-run",
    "fingerprint": "seedtool fingerprint --seed local",
}


def add(command: click.Command, path: str) -> None:
    """Let the help of a command, and of the commands of a group, end with their examples.

    Args:
        command: the command.
        path: its name, after those of its groups.
    """
    if path in EXAMPLES:
        command.epilog = f"Example: {EXAMPLES[path]}"
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            add(each, f"{path} {name}")
