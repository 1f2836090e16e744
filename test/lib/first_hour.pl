# Reads commands out of README.md and types them; see test/first_hour.sh, which prepares the machine.
use strict;
use warnings;
use utf8;
use open qw(:std :utf8);
use HTTP::Tiny;
use JSON::PP;
use Test::More;
use Time::HiRes qw(sleep time);

my $from_source = grep { $_ eq '--source' } @ARGV;
my $home = 'test/partner_center';
my $tls = '/root/first_hour_tls';
my %hosts = map { $_ => 1 } qw(api.partnercenter.microsoft.com login.microsoftonline.com);

# --- the README: [heading, language, text] of the blocks of two sections
my @blocks;
{
	open my $in, '<', 'README.md' or die "README.md: $!";
	my ($section, $heading, $language, $text) = ('', '');
	while (my $line = <$in>)
	{
		if (!defined $language && $line =~ /^## (.*)/) { $section = $heading = $1 }
		elsif (!defined $language && $line =~ /^\*\*\d+\. (.*?)\*\*/) { $heading = $1 }
		elsif (!defined $language && $line =~ /^```(\w+)/) { ($language, $text) = ($1, '') }
		elsif (defined $language && $line =~ /^```/)
		{
			push @blocks, { heading => $heading, language => $language, text => $text } if $section =~ /^(Installation|Five-minute start)$/;
			$language = undef;
		}
		elsif (defined $language) { $text .= $line }
	}
}
cmp_ok(scalar @blocks, '>', 8, scalar(@blocks) . ' blocks of commands in the README');

# --- to type
my $log = '/root/first_hour.log';
sub run
{
	my ($program, $input) = @_;
	open my $file, '>', "$log.in" or die $!;
	print $file $input;
	close $file;
	my $output = `$program <$log.in 2>&1`;
	return ($?, $output);
}
sub shell { return run('bash -e', $_[0]) }
sub psql { return run('sudo -u postgres psql -X -d billing -v ON_ERROR_STOP=1', $_[0]) }
# One value, for the test itself
sub value { my ($code, $out) = run('sudo -u postgres psql -XAtq -d billing -v ON_ERROR_STOP=1', $_[0]); $out =~ s/\n\z//; return $out }
sub becomes
{
	my ($query, $expected, $title) = @_;
	my ($end, $is) = (time + 60);
	do { $is = value($query); sleep 0.1 if $is !~ $expected } while $is !~ $expected && time < $end;
	like($is, $expected, $title);
	return;
}
# A block of the README, filled in; what it printed
sub type
{
	my ($block, %options) = @_;
	my $text = $block->{text};
	for my $value (@{ $options{with} // [] }) { $text =~ s/…/$value/ or die "nothing to fill in: $text" }
	unlike($text, qr/…/, "$block->{heading}: nothing is left to fill in");
	my ($code, $output) = $block->{language} eq 'sql' ? psql($text) : shell($text);
	is($code, 0, ($text =~ /([^\n]{0,70})/)[0]) or BAIL_OUT("$text\n$output\n" . `tail -n 20 /var/log/postgresql/*.log`);
	return $output;
}
sub next_block
{
	my ($language, $having) = @_;
	my $block = shift @blocks or die "the README has no more commands, and this test expects $having\n";
	$block->{language} eq $language && $block->{text} =~ /$having/ or die "this test expects $language with $having, and the README has:\n$block->{text}\n";
	return $block;
}

# --- Installation
{
	my %way = (source => next_block(sh => 'make install'), package => next_block(sh => 'make deb'));
	type($way{ $from_source ? 'source' : 'package' });
	is((shell('systemctl start postgresql; sudo -u postgres createdb billing'))[0], 0, 'a billing database is there');
	type(next_block(sh => 'shared_preload_libraries'));
	type(next_block(sql => 'CREATE EXTENSION spinpanel'));
}

# --- Microsoft
shell("sh $home/certificate.sh $tls " . join(' ', sort keys %hosts) . " && cp $tls/ca.pem /usr/local/share/ca-certificates/first_hour.crt && update-ca-certificates");
shell(join '', map { "echo 127.0.0.1 $_ >>/etc/hosts\n" } sort keys %hosts);
my $scenario = { customers => [
		{ name => 'Contoso', domain => 'contoso.example', users => [ { upn => 'adele@contoso.example', usage_location => 'US' } ], user_count => 12, assigned => { SPB => 10 },
			subscriptions => [ { offer => 'legacy-SPB', quantity => 15, started_days_ago => 400 } ] },
		{ name => 'Fabrikam', domain => 'fabrikam.example', user_count => 5, assigned => { SPB => 5 }, subscriptions => [ { product => 'CFQ7TTC0LCHC:0002', quantity => 5, ends_in_days => 200 } ] } ] };
open my $file, '>', "$tls/scenario.json" or die $!;
print $file encode_json($scenario);
close $file;
my $pid = open my $emulator, '-|', qw(node), "$home/server.js", '--quiet', '--port', 0, '--tls-port', 443, '--cert', "$tls/server.pem", '--key', "$tls/server.key", '--scenario', "$tls/scenario.json"
  or die $!;
END { local $?; kill 'KILL', $pid if $pid }
my $ready = decode_json(<$emulator> // die "the emulator does not start\n");
sub emulator
{
	my ($path, $data) = @_;
	my $url = "http://127.0.0.1:$ready->{port}/_emulator/$path";
	my $answer = $data ? HTTP::Tiny->new->post($url, { content => encode_json($data) }) : HTTP::Tiny->new->get($url);
	$answer->{success} or die "$path: $answer->{content}\n";
	return decode_json($answer->{content});
}
my ($account) = @{ emulator('accounts') };

# --- Five-minute start
type(next_block(sh => 'client_secret'), with => [ $account->{client_secret} ]);
my $url = type(next_block(sql => 'connect_account'), with => [ $account->{tenant_id}, $account->{client_id} ]);
($url) = $url =~ m{(https://login\.microsoftonline\.com/\S+)};
ok($url, 'sign_in_url() gives an address at Microsoft');
my $location = emulator('sign_in', { url => $url })->{location};
my ($code, $state) = $location =~ /code=([^&]+).*[?&]state=([^&]+)/;
my $setup = type(next_block(sql => 'sign_in'), with => [ $code, $state ]);
like($setup, qr/^ *preload *\| t .*^ *worker *\| t /ms, 'check_setup(): the worker runs');
becomes(q{SELECT ok || ' ' || detail FROM spinpanel.check_setup() WHERE item = 'credential'}, qr/^true main: app\+user/, '... and somebody has signed in');
like(type(next_block(sql => 'excess_seats')), qr/^ done *\| *2 \| *0\n.*^ Contoso *\| SPB *\| *15 \| *10 \| *5 /ms, 'what nobody uses is shown');
is(value(q{SELECT string_agg(item, ', ') FROM spinpanel.check_setup() WHERE NOT ok AND item <> 'pg_cron'}), '', 'check_setup() is content');
like(type(next_block(sql => 'plan_adjustment')), qr/^ *reduce *\| *15 \| *\d+ \|/m, 'the plan is shown');
type(next_block(sql => 'schedule'));
is(value(q{SELECT schedule || ' ' || command FROM cron.job}), '0 20 * * * SELECT spinpanel.nightly()', 'the night is scheduled');
is(value('SELECT string_agg(item, \', \') FROM spinpanel.check_setup() WHERE NOT ok'), '', '... check_setup() is content with everything');
like(value(value('SELECT command FROM cron.job')), qr/^\d+$/, 'the night begins');
becomes(q{SELECT status FROM spinpanel.run WHERE kind = 'nightly'}, qr/^done$/, '... and ends');
like(type(next_block(sql => 'spinpanel.run ')), qr/nightly.*done.*reduce/s, 'in the morning it says what it did or plans');
like(type(next_block(sql => 'assign_license')), qr/^ *done *\|/m, 'a licence is assigned');
is(scalar @blocks, 0, 'these are all of the commands');
ok((grep { $_->{upn} eq 'adele@contoso.example' && "@{ $_->{licences} }" =~ /SPB/ } @{ emulator('state?users=1&customer=Contoso')->{customers}[0]{users} }), '... and Microsoft knows of it');
kill 'KILL', $pid;
close $emulator;
done_testing();
printf "%d passed, %d failed\n", scalar(grep { $_->{ok} } Test::More->builder->details), scalar(grep { !$_->{ok} } Test::More->builder->details);
