"""The command line: its verbs, in the order of `--help`."""

from __future__ import annotations

import typer

from cli.calibration import calibrate
from cli.clusters import clusters_list, clusters_name, clusters_show
from cli.corrections import (
    different,
    feature,
    hide,
    journal_list,
    journal_undo,
    merge,
    people_list,
    people_map,
    rename,
    split,
    update,
)
from cli.data import data_check
from cli.embed import embed
from cli.enroll import enroll
from cli.gallery import adapt, adapt_after, adapt_report, query, rollback
from cli.items import delete_site, erase, list_items, sites
from cli.models import bundle_card, bundle_info, evaluate, export, visualize
from cli.quantize import bundle_quantize
from cli.recipes import recipes_list, recipes_show
from cli.review import review_answer, review_list
from cli.sentences import Sentences
from cli.server_info import image, info
from cli.serving import key_add, key_list, key_revoke, serve
from cli.training import distill, leave_one_out, synth, train
from cli.transfer import gallery_export, gallery_import
from cli.tune import tune
from cli.weights import weights_convert, weights_list
from cli.wrap import bundle_wrap

app = typer.Typer(
    cls=Sentences,
    help="Person re-identification that adapts to its site.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for verb in (
    serve,
    enroll,
    query,
    list_items,
    update,
    erase,
    sites,
    delete_site,
    calibrate,
    adapt,
    adapt_after,
    adapt_report,
    rollback,
    info,
    image,
    train,
    distill,
    leave_one_out,
    evaluate,
    visualize,
    export,
    embed,
    tune,
    synth,
):
    app.command("list" if verb is list_items else None)(verb)
gallery = typer.Typer(help="A site's items as files.", no_args_is_help=True)
gallery.command("export")(gallery_export)
gallery.command("import")(gallery_import)
app.add_typer(gallery, name="gallery")
people = typer.Typer(help="People of a site by name.", no_args_is_help=True)
people.command("list")(people_list)
people.command("map")(people_map)
for correction in (rename, merge, split, hide, feature, different):
    people.command()(correction)
app.add_typer(people, name="people")
clusters = typer.Typer(help="People of a site whom nobody has named.", no_args_is_help=True)
clusters.command("list")(clusters_list)
clusters.command("show")(clusters_show)
clusters.command("name")(clusters_name)
app.add_typer(clusters, name="clusters")
review = typer.Typer(help="Doubtful cases of a site, which people decide.", no_args_is_help=True)
review.command("list")(review_list)
review.command("answer")(review_answer)
app.add_typer(review, name="review")
journal = typer.Typer(help="What was corrected at a site, and its undoing.", no_args_is_help=True)
journal.command("list")(journal_list)
journal.command("undo")(journal_undo)
app.add_typer(journal, name="journal")
datasets = typer.Typer(help="What a model learns from.", no_args_is_help=True)
datasets.command("check")(data_check)
app.add_typer(datasets, name="data")
bundles = typer.Typer(help="Deployable models.", no_args_is_help=True)
bundles.command("info")(bundle_info)
bundles.command("card")(bundle_card)
bundles.command("wrap")(bundle_wrap)
bundles.command("quantize")(bundle_quantize)
app.add_typer(bundles, name="bundle")
weights = typer.Typer(
    help="Weights that trainings start from: alone, what each recipe's paper starts from.",
    invoke_without_command=True,
)
weights.callback()(weights_list)
weights.command("convert")(weights_convert)
app.add_typer(weights, name="weights")
recipes = typer.Typer(
    help="Recipes of trainings: alone, all of them, the papers' tables last.", invoke_without_command=True
)
recipes.callback()(recipes_list)
recipes.command("show")(recipes_show)
app.add_typer(recipes, name="recipes")
keys = typer.Typer(help="API keys of a server's data folder.", no_args_is_help=True)
for name, command in (("add", key_add), ("list", key_list), ("revoke", key_revoke)):
    keys.command(name)(command)
app.add_typer(keys, name="key")
