"""Templates are kept for a while: each is what it would be if it were made anew, whatever was asked for before."""

import copy
from dataclasses import replace

from tests.plan.specs import KEY, model, region, world
from tomoul.plan.model import plan_model
from tomoul.plan.pods import engine_pod
from tomoul.plan.revision import revision_of, stamped
from tomoul.plan.settings import Settings
from tomoul.plan.template import pod_template
from tomoul.plan.world import Key


def test_what_is_asked_for_twice_is_one_object_that_planning_does_not_change() -> None:
    found, place = model(), region()
    known = world(found, regions=(place,))
    first = pod_template(found, place, "default", known.settings)
    before = copy.deepcopy(first)
    plan_model(known, KEY)
    assert first == before
    assert pod_template(found, place, "default", known.settings) is first


def test_a_change_of_any_input_is_another_template() -> None:
    settings = Settings()
    asked = [
        (model(), region(), settings),
        (model(args=("--max-num-seqs=9",)), region(), settings),
        (model(), region("us-east"), settings),
        (model(), region(), replace(settings, image_pull_policy="Always")),
    ]
    made = [pod_template(*each[:2], "default", each[2]) for each in asked]
    assert len({revision_of(template) for template in made}) == len(asked)
    assert made == [stamped(engine_pod(*each[:2], "default", each[2])) for each in asked]


def test_more_models_than_are_kept_each_have_their_own() -> None:
    place, settings = region(), Settings()
    models = [model(Key("models", f"chat-{number}")) for number in range(200)]
    for found in (*models, *models):
        made = pod_template(found, place, "default", settings)
        assert made == stamped(engine_pod(found, place, "default", settings))
