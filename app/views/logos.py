"""The Logos page: the logos that are looked for, and in how many files each was found."""

from app import page
from app.people import watch_list

with page.guarded():
    watch_list.show("logos")
