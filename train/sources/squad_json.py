"""Questions about paragraphs in the JSON of SQuAD, which KorQuAD and others share."""

from dataclasses import dataclass
from typing import Any

from flaxformers_edu.errors import InputError
from train.sources.files import find_file, read_json
from train.sources.splits import Examples, load_part


@dataclass(frozen=True)
class SquadJson:
    """Files such as train-v1.1.json and dev-v2.0.json."""

    train: str = ""
    """Training file."""
    validation: str = ""
    """Validation file; the training file again: some of its articles are held out."""
    test: str = ""
    """Test file; the training file again: some of its articles are held out."""
    held_out: int = 10
    """Percent of the articles of a shared file that are validation, and as many test."""

    def load(self, split: str) -> Examples:
        """{"id", "title", "question", "context", "answers", "answer_starts"} for each question."""
        return load_part(self, split, squad_questions, lambda example: example["title"])


def squad_questions(path: str) -> list[dict[str, Any]]:
    """The questions of a file; those without an answer (v2.0) have empty `answers`.

    Raises:
        InputError: it is no JSON, lacks a part, or has no questions.
    """
    data = read_json(path)
    questions = []
    try:
        for article in data["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    answers = question.get("answers")
                    found = {
                        "id": question["id"],
                        "title": article.get("title", ""),
                        "question": question["question"],
                        "context": paragraph["context"],
                    }
                    if answers is not None:
                        found["answers"] = [answer["text"] for answer in answers]
                        found["answer_starts"] = [answer["answer_start"] for answer in answers]
                    questions.append(found)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{find_file(path)} is not in the form of SQuAD: after {len(questions)} questions "
            f"{error} was looked for; it should be data/paragraphs/(context, qas/(id, question, "
            "answers/(text, answer_start)))"
        ) from error
    if not questions:
        raise InputError(f"{find_file(path)} has no questions")
    return questions
