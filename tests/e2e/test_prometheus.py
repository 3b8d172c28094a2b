"""The parser that judges /metrics has to be right itself."""
import prometheus
from case import case

HEAD = "# HELP a_total Things.\n# TYPE a_total counter\n"

GOOD = [
    HEAD + "a_total 1\n",
    HEAD + 'a_total{x="1"} 1\na_total{x="2"} 2.5e3 1700000000000\n',
    HEAD + 'a_total{x="q\\"b\\\\n\\nz, }",y=""} 1\n',
    "# just a comment\n\n" + HEAD + "a_total 1\n",
    "# TYPE g gauge\n# HELP g A \\\\ and \\n.\ng -Inf\n",
    "# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n"
    "h_sum 3\nh_count 2\n",
]
BAD = {
    "no line feed": HEAD + "a_total 1",
    "no TYPE": "# HELP a_total Things.\na_total 1\n",
    "no HELP": "# TYPE a_total counter\na_total 1\n",
    "TYPE after sample": "# HELP a A.\na 1\n# TYPE a gauge\n",
    "second TYPE": HEAD + "# TYPE a_total counter\na_total 1\n",
    "second HELP": HEAD + "# HELP a_total Things.\na_total 1\n",
    "unknown type": "# HELP a A.\n# TYPE a number\na 1\n",
    "no sample": HEAD,
    "bad name": HEAD + "9a 1\n",
    "bad value": HEAD + "a_total one\n",
    "no value": HEAD + "a_total\n",
    "empty value": HEAD + 'a_total{x="1"}\n',
    "negative counter": HEAD + "a_total -1\n",
    "bad timestamp": HEAD + "a_total 1 now\n",
    "three fields": HEAD + "a_total 1 2 3\n",
    "twice": HEAD + 'a_total{x="1",y="2"} 1\na_total{y="2",x="1"} 1\n',
    "label twice": HEAD + 'a_total{x="1",x="2"} 1\n',
    "bad label name": HEAD + 'a_total{1x="1"} 1\n',
    "reserved label": HEAD + 'a_total{__x="1"} 1\n',
    "bad escape": HEAD + 'a_total{x="\\t"} 1\n',
    "open quote": HEAD + 'a_total{x="1} 1\n',
    "no comma": HEAD + 'a_total{x="1" y="2"} 1\n',
    "carriage return": HEAD + "a_total 1\r\n",
    "not together": HEAD + "# HELP b B.\n# TYPE b gauge\na_total 1\nb 1\na_total{x=\"1\"} 2\n",
    "bucket without le": "# HELP h H.\n# TYPE h histogram\nh_bucket 1\n",
}


@case(accel=None)
def parser(t):
    for text in GOOD:
        prometheus.parse(text)
    for why, text in BAD.items():
        try:
            prometheus.parse(text)
        except prometheus.FormatError:
            continue
        raise AssertionError(f"accepted: {why}")
    families = prometheus.parse(GOOD[1])
    assert families["a_total"].value(x="2") == 2500
    assert prometheus.parse(GOOD[2])["a_total"].value(x='q"b\\n\nz, }') == 1
