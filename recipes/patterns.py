"""Messages written for spamgpt: of companies, of people, and what imitates them or deceives.

Public collections have hardly any ham of banks, shops, schools and newsletters, and little of what
is sent today: a classifier takes the first for spam and misses the second. `patterns.csv` has a
pattern a row; what stands in braces is drawn anew for each message: a name of below, or one of
`several|alternatives`, which may have braces themselves. The messages are learnt from and never
scored.
"""

import random
import re
import string
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from spamgpt.data.rows import LABEL, SOURCE, TEXT

PATTERNS = Path(__file__).with_suffix(".csv")
# So many messages are made of each source and label.
COUNT = 900
_INNERMOST = re.compile(r"{([^{}]*)}")

_CHOICES = {
    name: words.split("|")
    for name, words in {
        "bank": (
            "Northbank|First Harbour|Meridian Bank|Unity Bank|Coast & County|KestrelPay|"
            "Banco Alba|Sable Credit|Equinox Bank|Tawny Finance|Blue Acre|MobiCash|"
            "Hillside Savings|Lumo Wallet|Sunda Bank|Apex Co-op"
        ),
        "shop": (
            "Oak & Linen|Papertrail|Bramble Books|Volt Corner|Nordic Nest|Green Basket|"
            "Pedal Works|The Tea Shed|Cedar Home|Pixel Depot|Little Sprout|Tool Yard|"
            "Harbour Coffee|Stitch & Co|Marlow Shoes|Fjord Outdoor"
        ),
        "service": (
            "Streamly|Cloudshelf|Notedesk|Taskriver|FitLoop|Mapwise|Chatterbox|Inkwell|"
            "Photobox|Devport|Ridely|Formly|Castaway|Learnhub|Payroll One"
        ),
        "carrier": (
            "Swiftpost|ParcelOne|Metro Courier|Royal Parcels|QuickDrop|National Post|CargoLine"
        ),
        "merchant": (
            "City Groceries|Metro Fuel|Corner Pharmacy|Sunrise Bakery|Railway Tickets|"
            "Cinema Royal|Aqua Gym|Grill House|Book Barn|Green Market|Quick Taxi|Star Hotel|"
            "Online Store|Garden Centre"
        ),
        "person": (
            "Anna|Rahul|Maria|Joseph|Wanjiku|Chen|Fatima|Lucas|Ivy|Samuel|Noor|Olga|Peter|"
            "Grace|Diego|Mei|Tom|Aisha"
        ),
        "surname": (
            "Miller|Sharma|Otieno|Garcia|Tan|Novak|Khan|Brown|Silva|Hansen|Mwangi|Rossi|"
            "Cohen|Park|Lopez|Ali"
        ),
        "city": (
            "Leeds|Nairobi|Pune|Lisbon|Austin|Manila|Dubai|Cork|Accra|Toronto|Lahore|Bergen|"
            "Porto|Denver|Mombasa"
        ),
        "item": (
            "a desk lamp|two mugs|running shoes (size 42)|a phone case|a rain jacket|"
            "wool socks|a garden hose|a cookbook|a bicycle pump|headphones|a kettle|"
            "a children's puzzle|printer paper|a yoga mat|a backpack"
        ),
        "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
        "month": (
            "January|February|March|April|May|June|July|August|September|October|November|December"
        ),
        "cur": "INR |Rs.|Rs |AED |KES |Ksh|USD |$|EUR |£|GBP |SAR |NGN |R |PHP |₹|Tk|QAR |€|¥|RM",
        "topic": (
            "gardening|city cycling|data journalism|open-source databases|local history|"
            "mobile development|baking|bird watching|maritime trade|type design|"
            "public transport|functional programming|school news"
        ),
        "year": "2024|2025|2026",
        "lure": "secure|verify|login|update|pay|track|refund|claim|id|alert",
    }.items()
}
_GOOD_ENDINGS = ("com", "org", "net", "co.uk", "in", "example", "io", "co", "ae", "co.ke")
_BAD_ENDINGS = ("top", "xyz", "click", "icu", "info", "live", "vip", "shop", "online", "cc", "site")
_GOOD_PATHS = ("", "/account", "/orders", "/help", "/terms", "/statements", "/unsubscribe", "/blog")


def written(seed: int = 1, count: int = COUNT) -> pd.DataFrame:
    """The columns `label`, `text` and `source`: so many messages of each label and source.

    English messages, and those in other languages, are sources of their own. The same seed gives
    the same messages.
    """
    draw = random.Random(seed)
    patterns = pd.read_csv(PATTERNS)
    foreign = patterns["language"] != "en"
    patterns[SOURCE] = patterns["senders"] + foreign.map({True: "-other-languages", False: ""})
    rows = []
    for (source, label), part in patterns.groupby([SOURCE, LABEL], sort=True):
        choices, made = list(part["pattern"]), dict[str, None]()
        while len(made) < count:
            made[_message(draw.choice(choices), draw)] = None
        rows += [(label, text, source) for text in made]
    return pd.DataFrame(rows, columns=[LABEL, TEXT, SOURCE])


def _message(pattern: str, draw: random.Random) -> str:
    text = pattern
    while "{" in text:
        text = _INNERMOST.sub(lambda found: _drawn(found[1], draw), text)
    # Some senders shout.
    return text.upper() if draw.random() < 0.05 else text


def _drawn(name: str, draw: random.Random) -> str:
    if "|" in name:
        return draw.choice(name.split("|"))
    if name in _CHOICES:
        return draw.choice(_CHOICES[name])
    return _DRAWN[name](draw)


def _amount(draw: random.Random) -> str:
    whole = draw.randrange(1, draw.choice((100, 1_000, 20_000, 200_000)))
    cents = f"{draw.randrange(100):02}"
    return draw.choice((f"{whole:,}.{cents}", f"{whole}.{cents}", f"{whole:,}", f"{whole}.00"))


def _account(draw: random.Random) -> str:
    last = _digits(4, draw)
    before = draw.choice(("XX", "*", "xxxx", "...", "**", "X", "ending ", "ending in "))
    return before + last


def _code(draw: random.Random) -> str:
    return draw.choice(
        (
            *(_digits(6, draw), _digits(4, draw), _digits(8, draw)),
            f"{_digits(3, draw)}-{_digits(3, draw)}",
            f"G-{_digits(6, draw)}",
        )
    )


def _date(draw: random.Random) -> str:
    day, month, year = draw.randrange(1, 29), draw.randrange(1, 13), _drawn("year", draw)
    name = _CHOICES["month"][month - 1]
    return draw.choice(
        (
            *(f"{day:02}-{month:02}-{year}", f"{day:02}/{month:02}/{year[2:]}"),
            *(f"{day:02}-{name[:3]}-{year[2:]}", f"{day} {name}", f"{name} {day}, {year}"),
            *(f"{day:02}{name[:3].upper()}{year[2:]}", f"{year}-{month:02}-{day:02}"),
            f"{day:02}.{month:02}.{year}",
        )
    )


def _time(draw: random.Random) -> str:
    hour, minute = draw.randrange(24), f"{draw.randrange(60):02}"
    half = "AM" if hour < 12 else "PM"
    return draw.choice(
        (
            *(f"{hour:02}:{minute}", f"{hour:02}:{minute}:{draw.randrange(60):02}"),
            f"{hour % 12 or 12}:{minute} {half}",
        )
    )


def _reference(draw: random.Random) -> str:
    letters = draw.choices(string.ascii_uppercase + string.digits, k=draw.randrange(6, 13))
    return draw.choice(
        (
            *("".join(letters), _digits(12, draw), f"#{draw.randrange(10**6)}"),
            f"{draw.randrange(1000)}-{_digits(7, draw)}",
        )
    )


def _telephone(draw: random.Random) -> str:
    return draw.choice(
        (
            *(f"1800 {_digits(3, draw)} {_digits(3, draw)}", f"0{_digits(9, draw)}"),
            *(f"+{draw.randrange(1, 99)} {_digits(9, draw)}", f"{draw.randrange(10000, 99999)}"),
        )
    )


def _address(draw: random.Random) -> str:
    """Of a page of a company's own."""
    host = _host(_drawn(draw.choice(("shop", "service", "bank")), draw))
    scheme, ending = draw.choice(("https://", "https://www.", "www.", "")), _GOOD_ENDINGS
    return f"{scheme}{host}.{draw.choice(ending)}{draw.choice(_GOOD_PATHS)}"


def _false_address(draw: random.Random) -> str:
    """Of a page that imitates one, or that hides where it leads."""
    brand = _host(_drawn(draw.choice(("bank", "carrier", "service")), draw))
    word, letters = draw.choice(_CHOICES["lure"]), string.ascii_lowercase
    host = draw.choice(
        (
            *(f"{brand}-{word}", f"{word}-{brand}", f"{brand}{word}{draw.randrange(100)}"),
            f"{word}.{brand}-{draw.randrange(1000)}",
            "".join(draw.choices(letters, k=draw.randrange(5, 10))),
        )
    )
    path = "".join(draw.choices(string.ascii_letters + string.digits, k=draw.randrange(4, 9)))
    scheme = draw.choice(("http://", "https://", ""))
    where = f"{host}.{draw.choice(_BAD_ENDINGS)}"
    whole = f"{scheme}{where}{draw.choice(('', '/login', f'/{path}', f'/?id={path}'))}"
    return draw.choice((whole, whole, whole, whole, f"bit.ly/{path}"))


def _host(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _digits(count: int, draw: random.Random) -> str:
    return "".join(draw.choices(string.digits, k=count))


_DRAWN: Mapping[str, Callable[[random.Random], str]] = {
    "acct": _account,
    "amount": _amount,
    "code": _code,
    "date": _date,
    "evil": _false_address,
    "n": lambda draw: str(draw.randrange(2, 40)),
    "phone": _telephone,
    "ref": _reference,
    "small": lambda draw: f"{draw.randrange(1, 60)}.{_digits(2, draw)}",
    "time": _time,
    "url": _address,
}
