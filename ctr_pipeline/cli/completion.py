"""``ctr-pipeline completion``."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the shell's completion script.

    \b
    bash:  eval "$(ctr-pipeline completion bash)"           in ~/.bashrc
    zsh:   eval "$(ctr-pipeline completion zsh)"            in ~/.zshrc
    fish:  ctr-pipeline completion fish > ~/.config/fish/completions/ctr-pipeline.fish
    """  # noqa: D301 - click reads \b as "leave these lines as they are"
    scripts = get_completion_class(shell)
    if scripts is None:
        raise click.UsageError(f"Click knows no completion for {shell}.")
    click.echo(scripts(context.find_root().command, {}, "ctr-pipeline", "_CTR_PIPELINE_COMPLETE").source())
