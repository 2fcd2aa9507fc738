"""Lab 07: answers that must pass, and mistakes with the key of the hint each must get; a file for each exercise."""

from lbcore.labs.answers.proxy import exchanging, forwarding, framing, routing

RIGHT = routing.RIGHT | forwarding.RIGHT | framing.RIGHT | exchanging.RIGHT
WRONG = routing.WRONG | forwarding.WRONG | framing.WRONG | exchanging.WRONG
