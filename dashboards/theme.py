"""How the dashboard looks and what it may do: Streamlit's options, colours, and one style sheet.

Colours are Okabe and Ito's, which readers with any common colour blindness can tell apart, with
the lighter ones darkened on white. Meaning never rests on colour alone: series carry labels,
changes carry a sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Palette:
    """Colours of one theme, as hex; `series` is the order for values without a meaning."""

    text: str
    muted: str
    grid: str
    surface: str
    accent: str
    blue: str
    sky: str
    green: str
    yellow: str
    orange: str
    red: str
    pink: str
    grey: str
    heat: tuple[str, str]

    @property
    def series(self) -> list[str]:
        """Eight colours, most telling first."""
        return [
            self.blue,
            self.orange,
            self.green,
            self.pink,
            self.sky,
            self.yellow,
            self.red,
            self.grey,
        ]


LIGHT: Final = Palette(
    text="#1c2733",
    muted="#5b6876",
    grid="#e3e8ee",
    surface="#ffffff",
    accent="#0b6b8f",
    blue="#0072b2",
    sky="#3a9bd6",
    green="#00875f",
    yellow="#b59a00",
    orange="#d98200",
    red="#c44e00",
    pink="#b3588d",
    grey="#7d8a97",
    heat=("#e6f0f6", "#005a8d"),
)
DARK: Final = Palette(
    text="#e6ebf0",
    muted="#9aa7b4",
    grid="#2a343f",
    surface="#10161d",
    accent="#56b4e9",
    blue="#4aa3df",
    sky="#8fd0f5",
    green="#2bbd8e",
    yellow="#f0e442",
    orange="#f0a732",
    red="#f0703a",
    pink="#d98fbb",
    grey="#8b98a5",
    heat=("#17232e", "#5cb8ee"),
)

# Flags of `streamlit run`, given in code so that no file in the working directory is needed and
# none there can undo them.
SERVER_OPTIONS: Final[dict[str, object]] = {
    "server.headless": True,
    "server.showEmailPrompt": False,
    "server.fileWatcherType": "none",
    "server.runOnSave": False,
    "server.maxUploadSize": 1,
    "server.enableStaticServing": False,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.disableDataExport": True,
    "client.allowedOrigins": (),
    "runner.magicEnabled": False,
    "logger.hideWelcomeMessage": True,
}
THEME_OPTIONS: Final[dict[str, object]] = {
    "theme.baseRadius": "0.6rem",
    "theme.headingFontSizes": ["2.1rem", "1.6rem", "1.3rem", "1.1rem", "1rem", "1rem"],
    "theme.headingFontWeights": [650, 600, 600, 600, 600, 600],
    "theme.metricValueFontSize": "1.75rem",
    "theme.metricValueFontWeight": 600,
    "theme.light.primaryColor": LIGHT.accent,
    "theme.light.backgroundColor": LIGHT.surface,
    "theme.light.secondaryBackgroundColor": "#f4f7f9",
    "theme.light.textColor": LIGHT.text,
    "theme.light.borderColor": "#dbe2e8",
    "theme.light.greenColor": LIGHT.green,
    "theme.light.redColor": LIGHT.red,
    "theme.dark.primaryColor": DARK.accent,
    "theme.dark.backgroundColor": DARK.surface,
    "theme.dark.secondaryBackgroundColor": "#18212a",
    "theme.dark.textColor": DARK.text,
    "theme.dark.borderColor": "#2c3844",
    "theme.dark.greenColor": DARK.green,
    "theme.dark.redColor": DARK.red,
}

STYLE_SHEET: Final = """
<style>
.stMainBlockContainer { max-width: 1320px; padding-top: 4.25rem; padding-bottom: 4rem; }
[class*="st-key-cards"] {
  display: grid !important; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr));
}
[class*="st-key-cards"] > * { width: 100% !important; min-width: 0; }
[class*="st-key-cards-small"] { grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); }
[data-testid="stMetric"] .stMarkdownEllipsis,
[data-testid="stMetric"] .stMarkdownEllipsis p { white-space: normal; overflow: visible; }
[class*="st-key-cards"] > [data-testid="stLayoutWrapper"] { height: 100%; }
[class*="st-key-card-"] { height: 100%; }
[class*="st-key-card-"] > :last-child { margin-top: auto; }
[class*="st-key-card-"] :is([data-testid="stPageLink"], .stButton) em {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
}
[class*="st-key-card-"] [data-testid="stPageLink"] a { padding: 0; min-height: 1.75rem; }
[data-testid="stPageLink"] a:hover p { text-decoration: underline; }
[class*="st-key-card-"] :is([data-testid="stPageLink"], .stButton) p,
[class*="st-key-leads-"] [data-testid="stPageLink"] p { font-size: .875rem; }
[class*="st-key-leads-"] [data-testid="stPageLink"] a { padding-left: 0; }
[class*="st-key-behind-"] { margin-top: -1.5rem; }
[class*="st-key-behind-"] [role="group"] {
  background: transparent; border-color: transparent; min-height: 2rem; height: 2rem;
}
[class*="st-key-behind-"] [role="group"]:is(:hover, :focus-within) { border-color: inherit; }
[class*="st-key-behind-"] input { font-size: .875rem; padding-left: 0; }
.st-key-sql textarea { font-family: "Source Code Pro", monospace; font-size: .875rem; }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: 1rem; padding-right: 1rem; }
  [class*="st-key-cards"] { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .5rem; }
  [class*="st-key-cards"] [data-testid="stMetricValue"] { font-size: 1.3rem; }
}
</style>
"""


def palette(theme_type: str | None) -> Palette:
    """The colours for what the browser says it shows: `light`, `dark` or not known yet."""
    return DARK if theme_type == "dark" else LIGHT
