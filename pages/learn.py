"""Learn: ten lessons, each one idea with a live figure, and exercises that the library answers."""

from pages.ui import frame
from pages.ui.learn import screen

screen.draw(
    frame.begin_without_model("learn", "Move a number and see what it does.", headline=False)
)
