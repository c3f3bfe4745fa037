"""Hydra's loader and repository here: every mistake is named at once instead of the first."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import ResultDefault
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import JobRuntime, setup_globals
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from tunefleet.base.errors import ConfigError
from tunefleet.doors import choices, composed, error_output, hydra_settings, overrides, packaged_configs, yaml_files
from tunefleet.doors.arguments import CONFIG_NAME, MAIN, Arguments

_SEARCH = "hydra.searchpath="


def open_loader(arguments: Arguments) -> Loader:
    """A loader for what was typed. It searches Hydra's configs, then the primary folder, ours, and the added ones."""
    version.setbase("1.3")
    setup_globals()
    JobRuntime().set("name", CONFIG_NAME)
    path = create_config_search_path(arguments.config_path)
    schema = SearchPathQuery(provider="schema")
    added = [("command-line", f"file://{folder}") for folder in arguments.config_dirs]
    for provider, location in [*([(choices.FALLBACK, MAIN)] * (arguments.config_path != MAIN)), *added]:
        path.prepend(provider, location, schema)
    packaged_configs.as_folders(path)
    return Loader(path, arguments)


class Loader(ConfigLoaderImpl):
    """Hydra's loader; an unknown plain `key=value` is let through, for `composed.typed` to name with all others."""

    def __init__(self, config_search_path: ConfigSearchPath, arguments: Arguments) -> None:
        super().__init__(config_search_path)
        self.arguments = arguments

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Composes. Raises `ConfigError` with every mistake of grammar, choice and key."""
        mistakes = self._mistakes(config_name, overrides, run_mode)
        if not mistakes and not self.arguments.mistakes:
            return self._load(config_name, overrides, run_mode)
        right = [text for text in overrides if text not in mistakes]
        complaints = [*self.arguments.mistakes, *(complaint for about in mistakes.values() for complaint in about)]
        raise ConfigError(*complaints, *self._other_mistakes(config_name, right, run_mode))

    def get_group_options(
        self,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        """Choices or groups; of `hydra.searchpath` too, which Hydra's own help and `glob()` pass over."""
        if overrides is None:
            return self._repository.get_group_options(group_name, results_filter)
        return super().get_group_options(group_name, results_filter, config_name, _searches(overrides))

    def choices_by_group(self) -> dict[str, list[str]]:
        """Every config group that the search path has, with its choices."""
        return choices.by_group(self._repository)

    def values_apart(self, texts: Sequence[str]) -> tuple[tuple[str, ...], list[Override]]:
        """The overrides that choose configs, and what the others set once those are composed."""
        repository = self._repository
        parsed = [overrides.parse(text) for text in texts]
        chooses = [choices.is_group(override, repository) or override.is_hydra_override() for override in parsed]
        values = list(itertools.compress(parsed, (not choice for choice in chooses)))
        return tuple(itertools.compress(texts, chooses)), [
            _as_hydra_takes_it(override, repository) for override in values
        ]

    def set_values(self, values: list[Override], config: DictConfig) -> None:
        """Sets values as Hydra does it: last, and in their order. Raises `ConfigError`."""
        with one_line():
            self._apply_overrides_to_config(values, config)

    @cached_property
    def _repository(self) -> CachingConfigRepository:
        """What the command line and the primary config search."""
        search = _searches(self.arguments.overrides)
        return self._parse_overrides_and_create_caching_repo(self.arguments.config_name, search)[1]

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingConfigRepository]:
        """Hydra's seam between what was typed and what it does with it."""
        parsed = [self._parse(text) for text in overrides]
        repository = _Repository(self.repository)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a folder that is not there: it is refused instead
            self._process_config_searchpath(config_name, parsed, repository)
        _expect_available(repository)
        return [_as_hydra_takes_it(override, repository) for override in parsed], repository

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        if isinstance(repo, CachingConfigRepository) and default.config_path:
            choices.expect_unshadowed(default.config_path, repo)
            choices.expect_local(default, repo)
        return super()._load_single_config(default, repo)

    def _parse(self, text: str) -> Override:
        return replace(overrides.parse(text), config_loader=self)  # `glob()` asks it for the choices

    def _load(self, config_name: str | None, texts: list[str], run_mode: RunMode) -> DictConfig:
        with one_line():
            config = super().load_configuration(config_name, texts, run_mode)
        typed = [overrides.parse(text).key_or_group for text in texts]
        complaints = hydra_settings.complaints(config, typed, is_run=config_name is not None)
        complaints += composed.target_complaints(config)
        if complaints:
            raise ConfigError(*complaints, *composed.complaints(config))
        return config

    def _other_mistakes(self, config_name: str | None, texts: list[str], run_mode: RunMode) -> list[str]:
        """A bad choice does not hide a bad key."""
        try:
            return composed.complaints(self._load(config_name, texts, run_mode))
        except ConfigError as error:
            return list(error.complaints)

    def _mistakes(self, config_name: str | None, texts: list[str], run_mode: RunMode) -> dict[str, list[str]]:
        """{override: complaints} of those that Hydra would stop at."""
        mistakes: dict[str, list[str]] = {text: [] for text in texts}
        parsed = {text: override for text in texts for override in overrides.parse_all([text], mistakes[text])}
        with one_line():
            _, repository = self._parse_overrides_and_create_caching_repo(config_name, _searches(list(parsed)))
        for text in parsed:
            mistakes[text] += choices.complaints(self._parse(text), repository, run_mode, _is_search(texts))
        return {text: complaints for text, complaints in mistakes.items() if complaints}


class _Repository(CachingConfigRepository):
    """Hydra's, which keeps what it has read, but not which groups there are: every override of a point asks that."""

    def __init__(self, delegate: IConfigRepository) -> None:
        super().__init__(delegate)
        self._groups: dict[str, bool] = {}

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Other folders have other groups."""
        packaged_configs.as_folders(config_search_path)
        super().initialize_sources(config_search_path)
        self._groups.clear()

    def load_config(self, config_path: str) -> ConfigResult | None:
        """A config of the search path. Raises `ConfigError` where it is broken, or has no end."""
        name = config_path if config_path.endswith(".yaml") else f"{config_path}.yaml"
        with yaml_files.refused(name):
            for source in self.get_sources():
                if source.scheme() == "file":
                    yaml_files.expect_bounded(Path(source.path) / name)
            return super().load_config(config_path)

    def group_exists(self, config_path: str) -> bool:
        """Whether a folder of the search path has this name."""
        if config_path not in self._groups:
            try:
                self._groups[config_path] = super().group_exists(config_path)
            except OSError:  # longer than any name of a file
                self._groups[config_path] = False
        return self._groups[config_path]


@contextmanager
def one_line() -> Iterator[None]:
    """Raises what Hydra stops at as one line of a `ConfigError`."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(error_output.in_one_line(error)) from None


def _as_hydra_takes_it(override: Override, repository: CachingConfigRepository) -> Override:
    """What Hydra would stop at, as what it accepts: an unknown key is added, no choice is a group left out."""
    if override.type is not OverrideType.CHANGE or override.package or override.is_hydra_override():
        return override
    if not choices.is_group(override, repository):
        return replace(override, type=OverrideType.FORCE_ADD)
    return replace(override, type=OverrideType.DEL) if override.value() is None else override


def _is_search(texts: Sequence[str]) -> bool:
    """Whether these overrides ask for a search, whose space may hold intervals."""
    return any(text.lstrip("+").startswith(("sweeps=", "sweep.")) for text in texts)


def _searches(texts: Sequence[str]) -> list[str]:
    return [text for text in texts if text.startswith(_SEARCH)]


def _expect_available(repository: CachingConfigRepository) -> None:
    absent = [source for source in repository.get_sources() if not source.available()]
    if absent:
        raise ConfigError(
            *(f"{source.provider}: {source.full_path()} is not there, or holds no configs." for source in absent)
        )
