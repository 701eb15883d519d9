"""The measurements behind :mod:`linksim.channel.laws`, by what they look at."""
