"""Where Hydra learns of the folders that a user has named beside conf/."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.plugins.search_path_plugin import SearchPathPlugin

from mnist_lab.settings import own
from mnist_lab.settings.groups import conf_dir


class OwnFolders(SearchPathPlugin):
    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if any(str(conf_dir()) in part.path for part in search_path.get_path()):
            for folder in reversed(own.folders):
                main = SearchPathQuery(provider="main", path=None)
                search_path.prepend(own.PROVIDER, f"file://{folder}", main)
