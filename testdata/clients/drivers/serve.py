"""What all drivers share: a client is loaded once and answers one request a line, both JSON."""

import json
import os
import sys


def serve(answer):
    """Answers `{"file", "arch", "n_tokens", "prompts"}` with the list of what `answer` yields for them, one for each
    prompt, until there are no more requests. An exception ends the program."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(list(answer(**json.loads(line)))), file=answers, flush=True)
