# One night, requests and an answer of each kind that is no answer: short, for test/valgrind.sh
use strict;
use warnings;

use SpinpanelTest qw(one_customer);
use Test::More;

plan skip_all => 'for test/valgrind.sh' unless $ENV{PG_TEST_TIMEOUT_DEFAULT} && $ENV{PG_TEST_TIMEOUT_DEFAULT} > 300;

my $slow = 300;
my $t = SpinpanelTest->start(tls => 1, scenario => one_customer(), options => { requests_per_minute => 0 },
	conf => { 'spinpanel.request_timeout' => '60s', log_min_messages => 'warning' });
is($t->run_and_wait('sync', undef, seconds => $slow)->{status}, 'done', 'the first reading');
$t->sql(q{SELECT count(*) FROM spinpanel.set_relationship('*', auto_license_adjustment => true, cooldown => '0')});
is($t->assign_and_wait('Contoso', 'user11@contoso.example', 'SPB', seconds => $slow)->{status}, 'done', 'bought and assigned');
is($t->assign_and_wait('Contoso', 'user02@contoso.example', 'SPB', function => 'release_license', seconds => $slow)->{status}, 'done', 'released');
for my $how ({ action => 'garbage' }, { action => 'truncate' }, { action => 'reset_after' }, { action => 'status', status => 401 }, { action => 'status', status => 503 })
{
	$t->fault({ %$how, count => 1, match => { kind => 'subscribedskus' } });
	ok($t->run_and_wait('nightly', undef, seconds => $slow)->{status}, "a night with $how->{action}");
	$t->clear_faults;
	$t->advance(days => 1);
}
is($t->run_and_wait('nightly', undef, seconds => $slow)->{status}, 'done', 'a night');
$t->node->stop;
done_testing();
