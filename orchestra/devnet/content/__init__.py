"""What the local subnets work on: a small web and a collection of posts, made of facts that stand in data files.

The pages about the 128 real subnets are written from `subnets.json`, a reduced copy of what is published about them.
The pages about GPU clouds carry the figures of the demo objective: they are for demonstration and no offer of those
companies, and the further companies are invented. Hosts end in `.example`. Everything is a pure function of the data,
the same on every machine.
"""

from orchestra.devnet.content.facts import Api, ApiOperation, Cloud, Gpu, SubnetFacts, clouds, subnets
from orchestra.devnet.content.posts import Post, posts
from orchestra.devnet.content.web import WebPage, web_pages

__all__ = [
    "Api",
    "ApiOperation",
    "Cloud",
    "Gpu",
    "Post",
    "SubnetFacts",
    "WebPage",
    "clouds",
    "posts",
    "subnets",
    "web_pages",
]
